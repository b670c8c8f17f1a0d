"""How large what comes from outside may be. Each is looked at before anything else is, so that reading ends soon."""

from __future__ import annotations

from typing import Final

from govern.errors import IntegrityError

NOTE_BYTES: Final = 100_000
"""A checkpoint, its signatures among them."""

NOTE_SIGNATURES: Final = 100
"""Of one checkpoint, as in other readers of signed notes."""

NOTES: Final = 10_000
"""Checkpoints in a witness's file: one an hour for a year."""

PROOF_HASHES: Final = 63
"""As many levels as a tree of 2^63 leaves has."""

PROOF_BYTES: Final = NOTE_BYTES + 4_000
"""A proof, or a request for a cosignature: its hashes and a checkpoint."""

VERIFIER_KEY: Final = 1_000
"""Characters of a verifier key (name+id+base64)."""

BUNDLE_BYTES: Final = 64 << 20
"""The events of one tile, up to 256."""

QUORUM_BYTES: Final = 100_000
"""A quorum file."""

QUORUM_NAMES: Final = 256
"""Logs, witnesses and groups of a quorum file, of each kind."""

EVENT_BYTES: Final = 4 << 20
"""An event's body. The largest of ours have some 100 kB."""

SIGNED_BYTES: Final = 4 << 20
"""A statement or a bundle: the digests of some 20,000 files."""

TRUST_BYTES: Final = 1 << 20
"""A trust document: some 3,000 keys."""

KEY_BYTES: Final = 1 << 16
"""A key file, public or private, or certificates."""

KEY_MEMORY: Final = 1 << 28
"""Bytes that an encrypted key's scrypt may ask for: sixteen times what we write."""

KEY_ROUNDS: Final = 10_000_000
"""Rounds that an encrypted key's password hash may ask for: a few seconds."""

TIMESTAMP_BYTES: Final = 1 << 20
"""A timestamp's response, its certificates among them."""

JSON_PARTS: Final = 100_000
"""Brackets and braces that open in a statement or an event: each takes far more memory than its two bytes."""


def check_size(data: bytes | str, most: int, what: str) -> None:
    """Refuse what is too large before it is read. Raises IntegrityError."""
    if len(data) > most:
        unit = "bytes" if isinstance(data, bytes) else "characters"
        raise IntegrityError(f"the {what} has more than {most:,} {unit}")


def check_json(data: bytes, most: int, what: str) -> None:
    """Refuse JSON that is too large, or falls into too many parts, before it is read. Raises IntegrityError."""
    check_size(data, most, what)
    if data.count(b"[") + data.count(b"{") > JSON_PARTS:
        raise IntegrityError(f"the {what} falls into more than {JSON_PARTS:,} parts")
