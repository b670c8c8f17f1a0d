"""Checkpoints: a log's (origin, size, root), signed, to be kept where the log is not.

A checkpoint is a C2SP signed note (c2sp.org/signed-note) of the form c2sp.org/tlog-checkpoint, signed with Ed25519 by a
key that signs nothing else, whose name is the log's origin. We write no extension lines and refuse them: they would
be signed, and nobody would check what they say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from govern.audit.merkle import HASH_SIZE
from govern.errors import IntegrityError

_ED25519 = b"\x01"
_KEY_ID_SIZE = 4
_MOST_BYTES = 100_000
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[^\s+]+")
_NOTE = re.compile(rb"(?:[^\n]+\n){3}\n(?:\xe2\x80\x94 [^\n]*\n)+")
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) (\S+)")


@dataclass(frozen=True)
class Checkpoint:
    """The Merkle tree over a log's first `size` events. `root` has 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> bytes:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True)
class LogVerifier:
    """The public half of a log's key: its name, which is the log's origin, and 32 bytes of Ed25519."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key): an address, not a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_KEY_ID_SIZE]

    @property
    def vkey(self) -> str:
        """The key in the form that other tools of this kind read: name+id+base64."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.key).decode()}"


def parse_vkey(text: str) -> LogVerifier:
    """Read a verifier key (name+id+base64). Raises IntegrityError."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    key = decode_base64(encoded)
    if not _NAME.fullmatch(name) or len(key) != 1 + 32 or key[:1] != _ED25519:
        raise IntegrityError("this is not a log's Ed25519 verifier key (name+id+base64)")
    verifier = LogVerifier(name, key[1:])
    if verifier.vkey != text:
        raise IntegrityError(f"the verifier key's id is {key_id!r}, its key's own is {verifier.key_id.hex()}")
    return verifier


def sign_checkpoint(checkpoint: Checkpoint, verifier: LogVerifier, sign: Callable[[bytes], bytes]) -> bytes:
    """The signed note. `sign` makes the 64-byte Ed25519 signature that `verifier` checks."""
    signature = base64.b64encode(verifier.key_id + sign(checkpoint.text)).decode()
    note = checkpoint.text + f"\n— {verifier.name} {signature}\n".encode()
    open_checkpoint(note, verifier)
    return note


def open_checkpoint(note: bytes, verifier: LogVerifier) -> Checkpoint:
    """Read a checkpoint that `verifier`'s key signed.

    Signatures of other keys, such as witnesses', are left alone, as the note's specification demands. Raises
    IntegrityError for everything that is not a checkpoint of that log.
    """
    checkpoint, signatures = _parse(note)
    if checkpoint.origin != verifier.name:
        raise IntegrityError(f"the checkpoint is of another log, {checkpoint.origin!r}", where=verifier.name)
    ours = [found[_KEY_ID_SIZE:] for name, found in signatures if (name, found[:4]) == (verifier.name, verifier.key_id)]
    if not ours:
        raise IntegrityError("the log's key did not sign this checkpoint", where=verifier.vkey)
    for signature in ours:
        try:
            Ed25519PublicKey.from_public_bytes(verifier.key).verify(signature, checkpoint.text)
        except InvalidSignature:
            raise IntegrityError("the checkpoint's signature does not match", where=verifier.vkey) from None
    return checkpoint


def split_notes(data: bytes) -> list[bytes]:
    """The signed notes of a file that holds several, one after the other; what they say is not checked yet.

    Raises IntegrityError where the file holds anything else.
    """
    notes = _NOTE.findall(data)
    if b"".join(notes) != data:
        raise IntegrityError("this is not a series of checkpoints, one after the other")
    return notes


def decode_base64(text: str) -> bytes:
    """Bytes from base64 in its one canonical form. Raises IntegrityError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise IntegrityError("this is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise IntegrityError("this is not base64 in its one canonical form")
    return data


def _parse(note: bytes) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    if len(note) > _MOST_BYTES:
        raise IntegrityError(f"the checkpoint has more than {_MOST_BYTES} bytes")
    try:
        text = note.decode()
    except UnicodeDecodeError:
        raise IntegrityError("the checkpoint is not UTF-8") from None
    if any(character < " " and character != "\n" for character in text):
        raise IntegrityError("the checkpoint holds a control character")
    lines = text.split("\n")
    if len(lines) < 6 or lines[3] != "" or lines[-1] != "":
        raise IntegrityError("the checkpoint is not origin, size, root, a blank line and signatures")
    origin, size, root, _, *signatures, _ = lines
    if not origin or not _SIZE.fullmatch(size):
        raise IntegrityError("the checkpoint's origin or size is malformed")
    decoded = decode_base64(root)
    if len(decoded) != HASH_SIZE:
        raise IntegrityError(f"the checkpoint's root does not have {HASH_SIZE} bytes")
    return Checkpoint(origin, int(size), decoded), [_signature(line) for line in signatures]


def _signature(line: str) -> tuple[str, bytes]:
    matched = _SIGNATURE_LINE.fullmatch(line)
    if not matched:
        raise IntegrityError("a signature line of the checkpoint is malformed")
    signature = decode_base64(matched[2])
    if len(signature) <= _KEY_ID_SIZE:
        raise IntegrityError("a signature of the checkpoint is too short")
    return matched[1], signature
