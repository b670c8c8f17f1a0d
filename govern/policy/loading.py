"""From a policy's bytes to a validated policy, or to everything that is wrong with it, in the order of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from govern.digests import canonical_digest, sha256_bytes
from govern.errors import UsageError
from govern.policy.document import MAX_BYTES, Document, Mistake, Place, located, read_document, where
from govern.policy.messages import explain
from govern.policy.schema import Policy, policy_class
from govern.sources import parse_source


@dataclass(frozen=True)
class LoadedPolicy:
    """A valid policy and the file that it came from.

    `sha256` is over the file's exact bytes, `digest` over what they mean (see `policy_digest`).
    """

    policy: Policy
    path: Path
    source: bytes
    _document: Document = field(repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 over the file's exact bytes, in hex."""
        return sha256_bytes(self.source)

    @property
    def digest(self) -> str:
        """SHA-256 over the policy's RFC 8785 form, in hex."""
        return policy_digest(self.policy)

    def where(self, *location: str | int) -> str:
        """The file:line:column of a value, such as `where("removal", "layer")`.

        A value that the file leaves to its default has the place of the nearest part around it.
        """
        return where(self.path, self._document.place(*location))


def policy_digest(policy: Policy) -> str:
    """SHA-256 over the RFC 8785 form of a validated policy, in hex.

    Comments, layout, the order of keys and how a number is written do not change it. Defaults are part of it: a policy
    that spells a default out means the same as one that does not, and a default that a later version changes must not
    pass for what was approved.
    """
    return canonical_digest(policy.model_dump(mode="json", by_alias=True))


def load_policy(path: Path) -> LoadedPolicy:
    """Read and validate a policy file, and check that the files which it names exist, relative to its folder.

    Raises PolicyErrors, each finding with file:line:column, what was expected and what to do.
    """
    return _load(_read(path), path=path, base=path.parent)


def parse_policy(source: bytes, *, path: Path) -> LoadedPolicy:
    """Validate a policy's bytes, such as a run's copy, without looking at the disk. `path` names them in errors.

    Raises PolicyErrors.
    """
    return _load(source, path=path, base=None)


def _load(source: bytes, *, path: Path, base: Path | None) -> LoadedPolicy:
    document = read_document(source, path=path)
    findings = list(document.findings)
    if base is not None:
        findings += _missing_files(document, base)
    try:
        # JSON is the one input in which pydantic is strict about scalars ("5" is no number) and takes lists for tuples.
        policy = policy_class(document.value).model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        findings += explain(error.errors(include_url=False), document)
    except UsageError as error:
        findings.append(Mistake(document.place("removal", "method"), f"removal.method: {error.message}", error.hint))
    if findings:
        raise located(findings, path=path)
    return LoadedPolicy(policy, path, source, document)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        known: dict[type[Exception], tuple[str, str]] = {
            FileNotFoundError: (
                "there is no such file",
                "Check the path; `govern policy schema` says what goes in it.",
            ),
            IsADirectoryError: ("this is a folder, not a policy", "Name the policy file in it."),
        }
        message, hint = known.get(
            type(error), (f"the file cannot be read: {type(error).__name__}", "Check its rights.")
        )
        raise located([Mistake(Place(1, 1), message, hint)], path=path) from None


def _missing_files(document: Document, base: Path) -> Iterator[Mistake]:
    """What the policy names on disk and is not there. Works on a policy that is otherwise wrong, too."""
    for location, name, is_model in _files(document.value):
        target = base / name
        try:
            target = base / Path(name).expanduser()
            found = target.is_dir() if is_model else target.is_file()
        except (OSError, ValueError, RuntimeError):  # too long a name, no such user, …
            found = False
        if not found:
            kind = "folder" if is_model else "file"
            yield Mistake(
                document.place(*location), f"there is no {kind} {target}", "A path is relative to the policy's folder."
            )


def _files(value: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    """(location, path, whether it is a model's folder) of everything on disk that a policy names."""
    sources: list[tuple[str | int, ...]] = [("model", "source")]
    sources += [(role, index, "source") for role in ("forget", "retain") for index in range(_length(value, role))]
    gates = _length(value, "verification", "utility")
    sources += [("verification", "utility", index, "perplexity") for index in range(gates)]
    for location in sources:
        source = _at(value, location)
        if isinstance(source, str):
            try:
                parsed = parse_source(source)
            except UsageError:
                continue  # the schema says what is wrong with it
            if parsed.scheme == "file":
                yield location, parsed.name, location[0] == "model"
    plain: list[tuple[str | int, ...]] = [("request", "fingerprints")]
    plain += [("tasks", index, "file") for index in range(_length(value, "tasks"))]
    for location in plain:
        name = _at(value, location)
        if isinstance(name, str) and not name.startswith("file:"):
            yield location, name, False


def _length(value: Any, *location: str | int) -> int:
    found = _at(value, location)
    return len(found) if isinstance(found, list) else 0


def _at(value: Any, location: tuple[str | int, ...]) -> Any:
    for step in location:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
        else:
            return None
    return value
