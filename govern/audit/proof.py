"""Proofs that an event is in a log, to be checked with nothing but the log's public key (c2sp.org/tlog-proof)."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from govern import limits
from govern.audit.checkpoint import Checkpoint, LogVerifier, decode_base64, open_checkpoint
from govern.audit.merkle import leaf_hash, verify_inclusion
from govern.errors import IntegrityError

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Proof:
    """An entry's number, the hashes from its sibling up to the root's child, and the signed checkpoint, verbatim."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


def format_proof(index: int, hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """The proof's text. `checkpoint` is a signed note."""
    lines = [_HEADER, f"index {index}", *(base64.b64encode(found).decode() for found in hashes), "", ""]
    return "\n".join(lines).encode() + checkpoint


def parse_proof(data: bytes) -> Proof:
    """Read a proof from untrusted bytes; nothing in it is checked yet.

    Raises IntegrityError, also for the specification's `extra` line: we write none, and nothing would vouch for it.
    """
    limits.check_size(data, limits.PROOF_BYTES, "proof")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        header, index, *hashes = head.decode("ascii").split("\n")
    except (UnicodeDecodeError, ValueError):
        raise IntegrityError(f"this is not a proof of the form {_HEADER}") from None
    matched = _INDEX.fullmatch(index)
    if header != _HEADER or not matched or not blank or len(hashes) > limits.PROOF_HASHES:
        raise IntegrityError(f"this is not a proof of the form {_HEADER}")
    return Proof(int(matched[1]), tuple(decode_base64(text) for text in hashes), checkpoint)


def verify_proof(data: bytes, entry: bytes, verifier: LogVerifier) -> Checkpoint:
    """Check that `entry`, an event's exact body, is in the log that `verifier` signs for.

    Returns the checkpoint under which it is. Raises IntegrityError.
    """
    proof = parse_proof(data)
    checkpoint = open_checkpoint(proof.checkpoint, verifier)
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint
