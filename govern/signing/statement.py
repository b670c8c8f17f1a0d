"""In-toto statements (v1): which files are meant, by SHA-256, and what is claimed about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from rfc8785 import CanonicalizationError

from govern import limits
from govern.digests import canonical_json
from govern.errors import IntegrityError
from govern.records import AuditPosition, GateKind, Line, Record, RunId, Sha256, UtcTime, VerdictValue, worst

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
REPORT_PREDICATE: Final = "urn:govern:predicate:report:v1"

R = TypeVar("R", bound=Record)


class WireRecord(Record):
    """A record whose field names on the wire are another standard's."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class DigestSet(BaseModel):
    """A subject's digest. in-toto allows several algorithms; we write and read SHA-256 alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256


class Subject(WireRecord):
    """One file that a statement is about."""

    name: str
    digests: DigestSet = Field(alias="digest")


class Statement(WireRecord):
    """An in-toto Statement v1. Its RFC 8785 bytes are the DSSE payload."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1)]
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, Any]


class GateClaim(Record):
    """One gate as the report claims it: inside the signature, so that no template can hide a failed one."""

    task: Line
    metric: Literal["acc", "acc_norm", "perplexity"]
    kind: GateKind
    after: float
    bound: float
    threshold: float
    verdict: VerdictValue


class AttackClaim(Record):
    """One attack with a limit as the report claims it. `recovered` and `bound` are None where nothing bounds them."""

    task: Line
    name: Line
    recovered: float | None
    bound: float | None
    max_recovery: float
    verdict: VerdictValue


class SignerIdentity(Record):
    """Who signed. `kind` says whether the key was kept or thrown away at once, as the demo does."""

    fingerprint: Sha256
    kind: Literal["kept", "throwaway"]


class ReportPredicate(Record):
    """What a signed report claims. The subjects are the report's files.

    `templates` maps each rendered file to its template's SHA-256. `verdict_digest` is over the whole Verdict record.
    `attacks` is left out of the JSON where none decided. `issued` is UTC, RFC 3339.
    """

    run: RunId
    policy_digest: Sha256
    plan_digest: Sha256
    model_before: Sha256
    model_after: Sha256
    delta_sha256: Sha256
    verdict: VerdictValue
    verdict_digest: Sha256
    gates: tuple[GateClaim, ...]
    attacks: tuple[AttackClaim, ...] = Field(default=(), exclude_if=lambda attacks: not attacks)
    templates: dict[str, Sha256]
    audit: AuditPosition
    signer: SignerIdentity
    issued: UtcTime
    govern: Line

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        claimed = [gate.verdict for gate in self.gates] + [attack.verdict for attack in self.attacks]
        if self.verdict != worst(claimed):
            raise ValueError("the verdict does not follow from the gates")
        return self


def report_statement(subjects: dict[str, str], predicate: ReportPredicate) -> bytes:
    """The statement over a report's files (name → SHA-256), as RFC 8785 bytes ready to sign."""
    return make_statement(subjects, REPORT_PREDICATE, predicate)


def make_statement(subjects: Mapping[str, str], predicate_type: str, predicate: Record | dict[str, Any]) -> bytes:
    """A statement over files (name → SHA-256), as RFC 8785 bytes ready to sign.

    A predicate of another standard's comes as the JSON object that the standard describes.
    """
    return Statement(
        subject=tuple(
            Subject(name=name, digests=DigestSet(sha256=sha256)) for name, sha256 in sorted(subjects.items())
        ),
        predicate_type=predicate_type,
        predicate=predicate.to_json() if isinstance(predicate, Record) else predicate,
    ).canonical()


def parse_statement(data: bytes) -> Statement:
    """Read a statement from untrusted bytes. Raises IntegrityError, also where the bytes are not in RFC 8785 form."""
    statement = parse_canonical(Statement, data, "statement")
    names = [subject.name for subject in statement.subject]
    if len(set(names)) != len(names):
        raise IntegrityError("the statement names one file twice")
    return statement


def report_predicate(statement: Statement) -> ReportPredicate:
    """What a statement claims about a report. Raises IntegrityError where it is a statement of another kind."""
    return parse_predicate(statement, REPORT_PREDICATE, ReportPredicate, "report")


def parse_predicate(statement: Statement, predicate_type: str, kind: type[R], name: str) -> R:
    """What a statement claims. Raises IntegrityError where it is a statement of another kind, or claims it badly."""
    if statement.predicate_type != predicate_type:
        raise IntegrityError(
            f"the statement is not about a {name}: its predicate type is {statement.predicate_type!r}",
            hint=f"Expected {predicate_type}.",
        )
    return parse_canonical(kind, canonical_json(statement.predicate), f"{name}'s predicate")


def parse_canonical(kind: type[R], data: bytes, name: str) -> R:
    """Read a record whose bytes must be its own RFC 8785 form, so that no two byte strings mean the same.

    Raises IntegrityError.
    """
    limits.check_json(data, limits.SIGNED_BYTES, name)
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
