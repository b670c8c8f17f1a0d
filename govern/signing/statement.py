"""In-toto statements (v1): which files are meant, by SHA-256, and what is claimed about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator
from rfc8785 import CanonicalizationError

from govern.errors import IntegrityError
from govern.records import Record, VerdictValue, worst

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]


class WireRecord(Record):
    """A record whose names on the wire are another standard's."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class Predicate(Record):
    """What a statement claims. `predicate_type` is the URI that says which kind, and which version of it."""

    predicate_type: ClassVar[str]


R = TypeVar("R", bound=Record)
P = TypeVar("P", bound=Predicate)


class DigestSet(Record):
    """A subject's digest. in-toto allows several algorithms; we write and read SHA-256 alone."""

    sha256: Sha256


class Subject(WireRecord):
    """One file that a statement is about."""

    name: str
    digests: DigestSet = Field(alias="digest")


class Statement(WireRecord, Generic[P]):
    """An in-toto Statement v1. Its RFC 8785 bytes are the DSSE payload."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1)]
    predicate_type: str = Field(alias="predicateType")
    predicate: P

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(self.subjects) != len(self.subject):
            raise ValueError("one file is named twice")
        return self

    @property
    def subjects(self) -> dict[str, str]:
        """The files that are meant: name → SHA-256."""
        return {subject.name: subject.digests.sha256 for subject in self.subject}


class GateVerdict(Record):
    """One gate's outcome: inside the signature, so that no custom template can hide a failed one."""

    task: str
    kind: Literal["ceiling", "floor", "max_drop", "max_increase"]
    verdict: VerdictValue


class AuditPosition(Record):
    """The event that a report stands on: its log, its number and its leaf hash."""

    origin: str
    seq: Annotated[int, Field(ge=0)]
    leaf: Sha256


class ReportPredicate(Predicate):
    """What a signed report claims. The statement's subjects are the report's files.

    `templates` maps each rendered file to its template's SHA-256. `verdict_digest` is over the whole Verdict record.
    `issued` is UTC, RFC 3339. `throwaway_key` says that the key was never kept: nobody's name stands behind it.
    """

    predicate_type: ClassVar[str] = "urn:govern:predicate:report:v1"

    run: str
    policy_digest: Sha256
    plan_digest: Sha256
    model_before: Sha256
    model_after: Sha256
    delta_sha256: Sha256
    verdict: VerdictValue
    verdict_digest: Sha256
    gates: tuple[GateVerdict, ...]
    templates: dict[str, Sha256]
    audit: AuditPosition
    throwaway_key: bool
    issued: str
    govern: str

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        if self.verdict != worst(gate.verdict for gate in self.gates):
            raise ValueError("the verdict does not follow from the gates")
        return self


def build_statement(subjects: Mapping[str, str], predicate: P) -> bytes:
    """The statement that `predicate` holds of some files (name → SHA-256), as RFC 8785 bytes ready to sign."""
    return Statement[P](
        subject=tuple(
            Subject(name=name, digests=DigestSet(sha256=sha256)) for name, sha256 in sorted(subjects.items())
        ),
        predicate_type=predicate.predicate_type,
        predicate=predicate,
    ).canonical()


def parse_statement(data: bytes, kind: type[P]) -> Statement[P]:
    """Read a statement of one kind from untrusted bytes.

    Raises IntegrityError for anything else, also where the bytes are not in RFC 8785 form.
    """
    statement = parse_canonical(Statement[kind], data, "statement")  # type: ignore[valid-type]
    if statement.predicate_type != kind.predicate_type:
        raise IntegrityError(
            "the statement is of another kind", where="predicateType", hint=f"Expected {kind.predicate_type}."
        )
    return statement


def parse_canonical(kind: type[R], data: bytes, name: str) -> R:
    """Read a record whose bytes must be its own RFC 8785 form, so that no two byte strings mean the same.

    Raises IntegrityError.
    """
    try:
        record = kind.parse(data)
        canonical = record.canonical()
    except ValidationError as error:
        raise IntegrityError(f"the {name} is malformed: {_first(error)}") from None
    except (CanonicalizationError, RecursionError):
        raise IntegrityError(f"the {name} holds a value that RFC 8785 cannot write") from None
    if canonical != data:
        raise IntegrityError(f"the {name} is not in RFC 8785 form: it was changed or written by another tool")
    return record


def _first(error: ValidationError) -> str:
    """The first finding, without the input: what was sent in is not ours to repeat."""
    finding = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    return f"{place}: {finding['msg']}" if place else finding["msg"]
