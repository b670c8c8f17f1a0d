"""SHA-256 digests, always written as 64 lower-case hex characters, and RFC 8785 canonical JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rfc8785


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 (JCS) bytes of a JSON value."""
    return rfc8785.dumps(value)


def canonical_digest(value: Any) -> str:
    """SHA-256 over the RFC 8785 bytes of a JSON value, in hex."""
    return sha256_bytes(canonical_json(value))


def texts_digest(texts: Iterable[str]) -> str:
    """SHA-256 over texts, each preceded by its length in bytes, so that no two lists share a digest by joining."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
