"""`govern keys`: make a key to sign reports with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.digests import sha256_bytes
from govern.signing import generate_key, public_path
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


def generate(workspace: Path, password: bytes, *, out: Path | None = None) -> GeneratedKey:
    """Make a key pair and write it into the log.

    Raises UsageError for an empty password or where the files exist, IntegrityError where the log does not hold.
    """
    path = out or signing_key_path(workspace)
    place = Workspace.open(workspace)
    with Log.open(place.database, trust=place.trust) as log:
        log.head()
        key = generate_key(path, password)
        public = public_path(path)
        log.append(
            "key.generated",
            actor=key.fingerprint,
            parameters={"algorithm": "ECDSA P-256 SHA-256", "public_sha256": sha256_bytes(key.pem)},
        )
    return GeneratedKey(path=path, public=public, fingerprint=key.fingerprint)
