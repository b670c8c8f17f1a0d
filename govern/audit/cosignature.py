"""Cosignatures: another party's statement that a log goes on from what it saw of it before, on the checkpoint itself.

A cosignature/v1 (c2sp.org/tlog-cosignature) is a further signature line of the checkpoint's note; what a witness is
sent is the body of add-checkpoint (c2sp.org/tlog-witness): the size that it knows, the proof from there, the new note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from govern import limits
from govern.audit.checkpoint import (
    Checkpoint,
    LogVerifier,
    VerifierKey,
    decode_base64,
    open_note,
    parse_key,
    split_line,
)
from govern.audit.merkle import HASH_SIZE
from govern.errors import IntegrityError

_TIME_SIZE = 8
_LATEST: Final = (1 << 63) - 1
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Cosigner(VerifierKey):
    """The public half of a cosigner's key. The key signs cosignatures alone."""

    kind = b"\x04"


@dataclass(frozen=True)
class CosigningRequest:
    """What a witness is asked: the size it knows, the hashes that lead from there to the checkpoint, and its note."""

    old: int
    hashes: tuple[bytes, ...]
    note: bytes


def parse_cosigner(text: str) -> Cosigner:
    """Read a cosigner's verifier key (name+id+base64). Raises IntegrityError."""
    return Cosigner(*parse_key(text, Cosigner.kind, "a cosigner's Ed25519 verifier key"))


def cosign(checkpoint: Checkpoint, cosigner: Cosigner, time: int, sign: Callable[[bytes], bytes]) -> bytes:
    """The cosignature's line. `time` is in seconds since 1970; `sign` makes the 64-byte signature."""
    signature = time.to_bytes(_TIME_SIZE, "big") + sign(_message(checkpoint, time))
    return f"— {cosigner.name} {base64.b64encode(cosigner.key_id + signature).decode()}\n".encode()


def cosigned_at(note: bytes, cosigner: Cosigner) -> int:
    """When a cosigner saw the checkpoint of a note to be consistent, by its own clock, in seconds since 1970.

    The newest, where it cosigned more than once. Says nothing of the log's own signature. Raises IntegrityError where
    it did not cosign.
    """
    checkpoint, signatures = open_note(note)
    theirs = [found for found in signatures if found[:2] == (cosigner.name, cosigner.key_id)]
    times = [_check(checkpoint, cosigner, found) for found in set(theirs)]
    if not times:
        raise IntegrityError(f"{cosigner.name} did not cosign this checkpoint", where=cosigner.vkey)
    return max(times)


def add_cosignature(note: bytes, line: bytes, cosigner: Cosigner) -> bytes:
    """The note with a cosigner's line below its signatures. Raises IntegrityError where the line is not one for it."""
    limits.check_size(line, limits.NOTE_BYTES, "cosignature")
    try:
        told = split_line(line.decode().removesuffix("\n"))
    except UnicodeDecodeError:
        raise IntegrityError("the cosignature is not UTF-8") from None
    if not line.endswith(b"\n") or told[:2] != (cosigner.name, cosigner.key_id):
        raise IntegrityError("this is not one line with a cosignature by this key", where=cosigner.vkey)
    _check(open_note(note)[0], cosigner, told)
    if line in note.splitlines(keepends=True):
        return note
    # What would be too large to read is not made.
    open_note(note + line)
    return note + line


def signed_by(note: bytes, log: LogVerifier) -> bytes:
    """A note with the signatures of one log's key alone, whoever else signed it. Raises IntegrityError."""
    open_note(note)
    text, _, lines = note.decode().partition("\n\n")
    theirs = [f"{line}\n" for line in lines.split("\n")[:-1] if split_line(line)[:2] == (log.name, log.key_id)]
    return f"{text}\n\n{''.join(theirs)}".encode()


def format_request(request: CosigningRequest) -> bytes:
    """The request's text."""
    lines = [f"old {request.old}", *(base64.b64encode(found).decode() for found in request.hashes), "", ""]
    return "\n".join(lines).encode() + request.note


def parse_request(data: bytes) -> CosigningRequest:
    """Read a request from untrusted bytes; nothing in it is checked yet. Raises IntegrityError."""
    limits.check_size(data, limits.PROOF_BYTES, "request for a cosignature")
    head, blank, note = data.partition(b"\n\n")
    try:
        old, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _malformed() from None
    matched = _OLD.fullmatch(old)
    if not matched or not blank or len(hashes) > limits.PROOF_HASHES:
        raise _malformed()
    decoded = tuple(decode_base64(text) for text in hashes)
    if any(len(found) != HASH_SIZE for found in decoded):
        raise _malformed()
    return CosigningRequest(int(matched[1]), decoded, note)


def _check(checkpoint: Checkpoint, cosigner: Cosigner, signature: tuple[str, bytes, bytes]) -> int:
    told = signature[2]
    time = int.from_bytes(told[:_TIME_SIZE], "big")
    if len(told) != _TIME_SIZE + 64 or time > _LATEST:
        raise IntegrityError("the cosignature is not a time and an Ed25519 signature", where=cosigner.vkey)
    try:
        Ed25519PublicKey.from_public_bytes(cosigner.key).verify(told[_TIME_SIZE:], _message(checkpoint, time))
    except InvalidSignature:
        raise IntegrityError("the cosignature does not match this checkpoint", where=cosigner.vkey) from None
    return time


def _message(checkpoint: Checkpoint, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n".encode() + checkpoint.text


def _malformed() -> IntegrityError:
    return IntegrityError("this is not a request for a cosignature (old size, proof, checkpoint)")
