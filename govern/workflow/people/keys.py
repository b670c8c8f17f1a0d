"""`govern keys`: make a key to sign reports with, and the log's own, which signs checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from govern.audit import Cosigner, Log, LogVerifier
from govern.digests import sha256_bytes
from govern.errors import UsageError
from govern.records.told import KeyGenerated
from govern.signing import LogKey, PublicKey, SigningKey, generate_key, generate_log_key, public_path
from govern.workflow.log.checkpoints import write
from govern.workspace import Workspace


@dataclass(frozen=True)
class GeneratedKey:
    """A new key pair: the encrypted private half, the public half to hand out, and the key's fingerprint."""

    path: Path
    public: Path
    fingerprint: str


def signing_key_path(workspace: Path) -> Path:
    """Where a workspace keeps its signing key."""
    return workspace / "keys" / "signing.pem"


def log_key_path(workspace: Path) -> Path:
    """Where a workspace keeps the key that signs checkpoints of its log."""
    return workspace / "keys" / "log.pem"


def cosigner_key_path(workspace: Path) -> Path:
    """Where a workspace keeps the key that cosigns other logs' checkpoints."""
    return workspace / "keys" / "cosigner.pem"


def verifier_path(path: Path) -> Path:
    """Where the public half of the log's key at `path` lies in the one-line form that logs and witnesses use."""
    return path.with_suffix(".vkey")


def generate(workspace: Path, password: bytes, *, out: Path | None = None) -> GeneratedKey:
    """Make a key pair and write it into the log.

    Raises UsageError for an empty password or where the files exist, IntegrityError where the log does not hold.
    """
    path = out or signing_key_path(workspace)
    with _log_of(workspace) as log:
        key = generate_key(path, password)
        _log_key(log, key)
    return GeneratedKey(path=path, public=public_path(path), fingerprint=key.fingerprint)


def adopt(workspace: Path, key: SigningKey, out: Path) -> GeneratedKey:
    """Write a token's key into the log as `generate` does, and its public half to the new file `out`.

    Raises UsageError where the file exists, IntegrityError where the log does not hold.
    """
    _refuse_existing(out)
    with _log_of(workspace) as log:
        write(out, key.public.pem)
        _log_key(log, key.public)
    return GeneratedKey(path=out, public=out, fingerprint=key.public.fingerprint)


def adopt_log_key(workspace: Path, key: LogKey, out: Path) -> str:
    """Write a token's key into the log as the log's own, and its vkey to the new file `out`; returns the vkey.

    Raises UsageError where the file exists, IntegrityError where the log does not hold.
    """
    return _name_key(workspace, lambda: key, out, LogVerifier, "vkey")[1]


def make_log_key(workspace: Path, path: Path, password: bytes) -> LogKey:
    """Make the log's key and write it into the log: only a key that the log names may sign a checkpoint of it.

    Raises UsageError for an empty password or where the files exist, IntegrityError where the log does not hold.
    """
    make = partial(generate_log_key, path, password)
    return _name_key(workspace, make, verifier_path(path), LogVerifier, "vkey")[0]


def make_cosigner_key(workspace: Path, path: Path, password: bytes) -> LogKey:
    """Make the key that cosigns other logs' checkpoints in this log's name, and write it into the log.

    Raises UsageError for an empty password or where the files exist, IntegrityError where the log does not hold.
    """
    make = partial(generate_log_key, path, password)
    return _name_key(workspace, make, verifier_path(path), Cosigner, "cosigner")[0]


def _name_key(
    workspace: Path, make: Callable[[], LogKey], out: Path, kind: type[LogVerifier | Cosigner], field: str
) -> tuple[LogKey, str]:
    _refuse_existing(out)
    with _log_of(workspace) as log:
        origin = log.verify().origin
        key = make()
        vkey = kind(origin, key.public).vkey
        write(out, f"{vkey}\n".encode())
        log.append("key.generated", parameters=KeyGenerated(algorithm="Ed25519", **{field: vkey}).to_json())
    return key, vkey


def _log_key(log: Log, key: PublicKey) -> None:
    made = KeyGenerated(algorithm="ECDSA P-256 SHA-256", public_sha256=sha256_bytes(key.pem))
    log.append("key.generated", actor=key.fingerprint, parameters=made.to_json())


@contextmanager
def _log_of(workspace: Path) -> Iterator[Log]:
    """The log, checked at its head before a key is made for it."""
    place = Workspace.open(workspace)
    with Log.open(place.database, trust=place.trust) as log:
        log.head()
        yield log


def _refuse_existing(public: Path) -> None:
    if public.exists():
        raise UsageError(
            "a key is never overwritten, and this file exists",
            where=str(public),
            hint="Name another file with --out: old signatures need the old key's public half.",
        )
