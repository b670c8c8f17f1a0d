"""SHA-256 digests, always written as 64 lower-case hex characters, and RFC 8785 canonical JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rfc8785
from pydantic_core import PydanticSerializationError, to_json

_SAFE = 2**53
"""Integers are exact in JSON below this."""


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 (JCS) bytes of a JSON value. Raises rfc8785.CanonicalizationError."""
    try:
        # Ten times as fast as a writer in Python, and nearly all values are of this kind.
        return to_json(_plain(value))
    except (_Unusual, TypeError, PydanticSerializationError):
        return rfc8785.dumps(value)


class _Unusual(Exception):
    """A value that pydantic may write in another way than RFC 8785."""


def _plain(value: Any) -> Any:
    """The value with its keys in order, where pydantic writes it as RFC 8785 does. Raises _Unusual or TypeError."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if (kind is dict or kind is list) and not value:
        return value
    if kind is dict:
        keys = sorted(value)
        # Beyond ASCII, RFC 8785's order by UTF-16 may be another one.
        if "".join(keys).isascii():
            return {key: _plain(value[key]) for key in keys}
    elif kind is list or kind is tuple:
        return [_plain(inner) for inner in value]
    elif kind is int and -_SAFE < value < _SAFE:
        return value
    elif kind is float and 1e-4 <= abs(value) < 1e15:
        # ECMAScript writes no fraction where there is none.
        return int(value) if value.is_integer() else value
    raise _Unusual


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
