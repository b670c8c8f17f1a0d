"""The log's own key: Ed25519, which signs checkpoints and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from govern.errors import UsageError
from govern.signing.key_files import create_key_files, read_private_key


class PrivateLogKey(Protocol):
    """What signs: a key in memory, or one that a token keeps."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """The public half."""

    def sign(self, data: bytes, /) -> bytes:
        """The 64-byte signature of `data`."""


@dataclass(frozen=True, repr=False)
class LogKey:
    """An Ed25519 private key."""

    _key: PrivateLogKey

    @property
    def public(self) -> bytes:
        """The public half: 32 bytes (RFC 8032)."""
        return self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of `data`."""
        return self._key.sign(data)


def generate_log_key(path: Path, password: bytes) -> LogKey:
    """Make a log's key: the private half encrypted at `path` (mode 0600), the public half beside it as `.pub`.

    Raises UsageError for an empty password, or where either file exists: a key is never overwritten.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    create_key_files(path, key, password)
    return LogKey(key)


def load_log_key(path: Path, password: bytes) -> LogKey:
    """Read a log's key.

    Raises UsageError where the file is missing, open to others, not encrypted or not Ed25519, or the password is wrong.
    """
    key = read_private_key(path, password)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError("this is not a log's key (Ed25519)", where=str(path), hint="Reports are signed with another.")
    return LogKey(key)
