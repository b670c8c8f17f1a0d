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
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from govern import limits
from govern.audit.merkle import HASH_SIZE
from govern.errors import IntegrityError

_KEY_ID_SIZE = 4
# Ed25519's field, and the y of the eight points whose order divides 8.
_P: Final = 2**255 - 19
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER: Final = (0, 1, _P - 1, _Y8, _P - _Y8)
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[^\s+]+")
_NOTE = re.compile(rb"(?:[^\n]+\n){3}\n(?:\xe2\x80\x94 [^\n]*\n)+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
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
class VerifierKey:
    """A public key under a name: 32 bytes of Ed25519, for what its kind signs and nothing else."""

    name: str
    key: bytes
    kind: ClassVar[bytes]

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ kind ‖ key): an address, not a proof."""
        return key_id(self.name, self.kind + self.key)

    @property
    def vkey(self) -> str:
        """The key in the form that other tools of this kind read: name+id+base64."""
        return format_vkey(self.name, self.kind + self.key)


@dataclass(frozen=True)
class LogVerifier(VerifierKey):
    """The public half of a log's key, whose name is the log's origin."""

    kind = b"\x01"


def parse_vkey(text: str) -> LogVerifier:
    """Read a log's verifier key (name+id+base64). Raises IntegrityError."""
    return LogVerifier(*parse_key(text, LogVerifier.kind, "a log's Ed25519 verifier key"))


def key_id(name: str, key: bytes) -> bytes:
    """The first four bytes of SHA-256(name ‖ 0x0A ‖ key). `key` begins with the byte of its kind."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:_KEY_ID_SIZE]


def format_vkey(name: str, key: bytes) -> str:
    """A verifier key's text (name+id+base64). `key` begins with the byte of its kind."""
    return f"{name}+{key_id(name, key).hex()}+{base64.b64encode(key).decode()}"


def parse_key(text: str, kind: bytes, what: str) -> tuple[str, bytes]:
    """The name and the 32 bytes of a verifier key of one kind. Raises IntegrityError, which says `what` it is not."""
    limits.check_size(text, limits.VERIFIER_KEY, "verifier key")
    name, _, rest = text.partition("+")
    told, _, encoded = rest.partition("+")
    key = decode_base64(encoded)
    if not _NAME.fullmatch(name) or len(key) != 1 + 32 or key[:1] != kind:
        raise IntegrityError(f"this is not {what} (name+id+base64)")
    if format_vkey(name, key) != text:
        raise IntegrityError(f"the verifier key's id is {told!r}, its key's own is {key_id(name, key).hex()}")
    # A key of small order fits signatures that nobody made.
    y = int.from_bytes(key[1:], "little") & ~(1 << 255)
    if y >= _P or y in _SMALL_ORDER:
        raise IntegrityError(f"this is not {what}: everybody can sign for a key like it")
    return name, key[1:]


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
    checkpoint, signatures = open_note(note)
    if checkpoint.origin != verifier.name:
        raise IntegrityError(f"the checkpoint is of another log, {checkpoint.origin[:100]!r}", where=verifier.name)
    ours = [signature for *by, signature in signatures if by == [verifier.name, verifier.key_id]]
    if not ours:
        raise IntegrityError("the log's key did not sign this checkpoint", where=verifier.vkey)
    for signature in set(ours):
        try:
            Ed25519PublicKey.from_public_bytes(verifier.key).verify(signature, checkpoint.text)
        except InvalidSignature:
            raise IntegrityError("the checkpoint's signature does not match", where=verifier.vkey) from None
    return checkpoint


def split_notes(data: bytes) -> list[bytes]:
    """The signed notes of a file that holds several, one after the other; what they say is not checked yet.

    Raises IntegrityError where the file holds anything else.
    """
    notes: list[bytes] = []
    end = 0
    while end < len(data):
        matched = _NOTE.match(data, end)
        if not matched:
            raise IntegrityError("this is not a series of checkpoints, one after the other")
        if len(notes) == limits.NOTES:
            raise IntegrityError(f"the file holds more than {limits.NOTES:,} checkpoints")
        notes.append(matched[0])
        end = matched.end()
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


def own_note(note: bytes) -> bytes:
    """The checkpoint with its first signature alone, the log's own: what it was before anybody cosigned it.

    Raises IntegrityError where it is none.
    """
    open_note(note)
    return b"".join(note.splitlines(keepends=True)[:5])


def open_note(note: bytes) -> tuple[Checkpoint, list[tuple[str, bytes, bytes]]]:
    """A note's checkpoint and its signatures (name, key id, signature), none of them checked. Raises IntegrityError."""
    limits.check_size(note, limits.NOTE_BYTES, "checkpoint")
    try:
        text = note.decode()
    except UnicodeDecodeError:
        raise IntegrityError("the checkpoint is not UTF-8") from None
    if _CONTROL.search(text):
        raise IntegrityError("the checkpoint holds a control character")
    lines = text.split("\n")
    if len(lines) < 6 or lines[3] != "" or lines[-1] != "":
        raise IntegrityError("the checkpoint is not origin, size, root, a blank line and signatures")
    origin, size, root, _, *signatures, _ = lines
    if len(signatures) > limits.NOTE_SIGNATURES:
        raise IntegrityError(f"the checkpoint has more than {limits.NOTE_SIGNATURES} signatures")
    if not origin or not _SIZE.fullmatch(size):
        raise IntegrityError("the checkpoint's origin or size is malformed")
    decoded = decode_base64(root)
    if len(decoded) != HASH_SIZE:
        raise IntegrityError(f"the checkpoint's root does not have {HASH_SIZE} bytes")
    return Checkpoint(origin, int(size), decoded), [split_line(line) for line in signatures]


def split_line(line: str) -> tuple[str, bytes, bytes]:
    """A signature line's name, key id and signature, not checked. Raises IntegrityError."""
    matched = _SIGNATURE_LINE.fullmatch(line)
    if not matched:
        raise IntegrityError("a signature line of the checkpoint is malformed")
    signature = decode_base64(matched[2])
    if len(signature) <= _KEY_ID_SIZE:
        raise IntegrityError("a signature of the checkpoint is too short")
    return matched[1], signature[:_KEY_ID_SIZE], signature[_KEY_ID_SIZE:]
