"""Privacy and copyright requests: what is about whom, known by salted fingerprints alone.

The salt is a secret of the policy's owner. It is needed where a policy is planned, and never stored.
"""

from __future__ import annotations

import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from govern.corpora import find_subjects, make_fingerprints
from govern.digests import sha256_file
from govern.errors import GovernError, PolicyError, UsageError
from govern.policy import LoadedPolicy
from govern.records import CorpusIdentity, Fingerprints, RequestIdentity, TaskIdentity
from govern.workspace import write_atomic, writing

_SALT_BYTES: Final = 32

# Names of files may tell of whom they are: a request's are left out of everything that is kept.
WITHHELD: Final = "file:withheld"


@dataclass(frozen=True)
class Subjects:
    """A request's fingerprints and the salt that they were made with."""

    known: Fingerprints
    salt: bytes

    def found_in(self, text: str) -> frozenset[str]:
        """The fingerprints of the subjects that a text names."""
        return find_subjects(text, self.known, self.salt)


@dataclass(frozen=True)
class Fingerprinted:
    """A file of fingerprints in its place. `new_salt` says whether its salt was made for it."""

    path: Path
    salt: Path
    subjects: int
    new_salt: bool


def fingerprint(subjects: Path, *, salt: Path, out: Path) -> Fingerprinted:
    """Write the fingerprints of the subjects in a text file, one a line, to `out`; make the salt where there is none.

    Raises UsageError where a file cannot be read or written, or others can read the salt.
    """
    try:
        lines = [line for line in subjects.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise UsageError("the subjects cannot be read", where=str(subjects), hint="Expected UTF-8 text.") from None
    fresh = not salt.exists()
    secret = secrets.token_bytes(_SALT_BYTES) if fresh else read_salt(salt)
    made = make_fingerprints(lines, secret)
    with writing("it", out):
        if fresh:
            write_atomic(salt, f"{secret.hex()}\n".encode(), mode=0o600)
        write_atomic(out, made.canonical())
    return Fingerprinted(out, salt, len(made.fingerprints), fresh)


def read_salt(path: Path) -> bytes:
    """The salt in a file that its owner alone can read. Raises UsageError."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii")
        salt = bytes.fromhex(text.strip())
    except OSError as error:
        raise UsageError(f"the salt cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError:
        salt = b""
    if len(salt) != _SALT_BYTES:
        raise UsageError("this is no salt", where=str(path), hint="Make one with: govern policy fingerprint")
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError("others can read the salt", where=str(path), hint=f"Close it: chmod 600 {path}")
    return salt


def subjects_of(loaded: LoadedPolicy, salt: Path | None) -> Subjects | None:
    """What a policy's request is about; None where it serves none. Raises UsageError without the right salt."""
    request = loaded.policy.request
    if request is None:
        return None
    if salt is None:
        raise UsageError(
            "without the salt of its fingerprints, nobody can tell whether the text is about the request's subjects",
            where=loaded.where("request", "fingerprints"),
            hint="Name it with --salt FILE or GOVERN_SALT.",
        )
    subjects = Subjects(_read_fingerprints(loaded), read_salt(salt))
    try:
        subjects.found_in("")
    except UsageError as error:
        raise UsageError(error.message, where=str(salt)) from None
    return subjects


def identify_request(loaded: LoadedPolicy) -> RequestIdentity | None:
    """A policy's request as its plan keeps it."""
    request = loaded.policy.request
    if request is None:
        return None
    known = _read_fingerprints(loaded)
    return RequestIdentity(
        kind=request.kind,
        id=request.id,
        fingerprints=sha256_file(loaded.path.parent / request.fingerprints),
        subjects=len(known.fingerprints),
    )


def refuse_named_subjects(loaded: LoadedPolicy, subjects: Subjects) -> None:
    """Raise PolicyError where the policy or its path names a subject: both are kept for ever, and shown."""
    if subjects.found_in(str(loaded.path.absolute())):
        raise PolicyError(
            "the policy's path names a subject of its request", where="the policy", hint="Rename the file or folder."
        )
    text = loaded.source.decode()
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if subjects.found_in(" ".join([line, *lines[number : number + 1]])):
            raise PolicyError(
                "the policy names a subject of its request, and it is kept and shown as it is",
                where=f"{loaded.path}:{number}:1",
                hint="Write the request's id instead. File names count as well.",
            )
    if subjects.found_in(text):
        raise PolicyError("the policy quotes a subject of its request", where=f"{loaded.path}:1:1")


def refuse_other_subjects(loaded: LoadedPolicy, subjects: Subjects, *, forget: list[str], retain: list[str]) -> None:
    """Raise PolicyError where the text to forget, as cut, lacks a subject, or the text to retain names one."""
    missing = frozenset(subjects.known.fingerprints).difference(*(subjects.found_in(text) for text in forget))
    if missing:
        raise PolicyError(
            f"{len(missing)} of the {len(subjects.known.fingerprints)} subjects of the request occur nowhere in the "
            "text to forget",
            where=loaded.where("request", "fingerprints"),
            hint="Add text about them (`max_tokens` cuts it), or make the fingerprints afresh.",
        )
    kept = frozenset[str]().union(*(subjects.found_in(text) for text in retain))
    if kept:
        raise PolicyError(
            f"{len(kept)} of the {len(subjects.known.fingerprints)} subjects of the request occur in the text to "
            "retain, which would keep them",
            where=loaded.where("retain"),
            hint="Take that text out.",
        )


def without_file_names(corpus: CorpusIdentity) -> CorpusIdentity:
    """A text source whose file is named by its digest alone."""
    return corpus.model_copy(update={"source": WITHHELD}) if corpus.source.startswith("file:") else corpus


def task_without_file_name(task: TaskIdentity) -> TaskIdentity:
    """A question set whose file is named by its digest alone."""
    return task.model_copy(update={"source": WITHHELD}) if task.source.startswith("file:") else task


def _read_fingerprints(loaded: LoadedPolicy) -> Fingerprints:
    request = loaded.policy.request
    assert request is not None  # noqa: S101 - callers look first
    where = loaded.where("request", "fingerprints")
    try:
        return Fingerprints.parse((loaded.path.parent / request.fingerprints).read_bytes())
    except OSError as error:
        raise GovernError(f"the fingerprints cannot be read: {error.strerror}", where=where) from None
    except ValidationError:
        raise PolicyError(
            "these are no fingerprints", where=where, hint="Make them with: govern policy fingerprint SUBJECTS"
        ) from None
