"""The trust document: who may sign what, in YAML for people to read, signed by the root key.

It has one form alone, the one that `write_trust` gives, so that a changed byte is a changed document.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

from govern import limits
from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.records import Record, Sha256, Trust, UtcTime
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.statement import make_statement, parse_predicate, parse_statement

TRUST_FILE: Final = "trust.yaml"
TRUST_PREDICATE: Final = "urn:govern:predicate:trust:v1"
ROTATION_PREDICATE: Final = "urn:govern:predicate:key-rotation:v1"

R = TypeVar("R", bound=Record)

_FORM = re.compile(rb'#[^\n]*\n(?:(?:  - |    )?[a-z_]+:(?: (?:"[^\n]*"|null|\d+|\[\]))?\n)*')

_HEAD = "# Whose signatures count. Signed by the root key: change it with `govern trust`, never by hand.\n"


class TrustPredicate(Record):
    """What the root key says of a trust document: its place in the series."""

    serial: int
    previous: Sha256 | None
    root: Sha256


class RotationPredicate(Record):
    """One key gives way to another. Both sign it: the old one consents, the new one is shown to be held."""

    old: Sha256
    new: Sha256
    time: UtcTime


def write_trust(trust: Trust) -> bytes:
    """The document as YAML, always the same bytes for the same record."""
    fields = trust.to_json()
    entries = fields.pop("keys")
    lines = [f"{name}: {_scalar(value)}\n" for name, value in fields.items()]
    lines.append("keys:\n" if entries else "keys: []\n")
    for entry in entries:
        marks = ["  - ", *["    "] * (len(entry) - 1)]
        lines += [f"{mark}{name}: {_scalar(value)}\n" for mark, (name, value) in zip(marks, entry.items(), strict=True)]
    return "".join([_HEAD, *lines]).encode()


def read_trust(document: bytes) -> Trust:
    """Read a document from untrusted bytes. Raises IntegrityError for all but the one form that `write_trust` gives."""
    limits.check_size(document, limits.TRUST_BYTES, "trust document")
    if not _FORM.fullmatch(document):
        raise _malformed()
    try:
        trust = Trust.model_validate_json(json.dumps(_load(document)))
    except ValueError:
        raise _malformed() from None
    if write_trust(trust) != document:
        raise _malformed()
    return trust


def sign_trust(document: bytes, root: SigningKey) -> bytes:
    """The bundle by which the root key stands behind a document."""
    trust = read_trust(document)
    predicate = TrustPredicate(serial=trust.serial, previous=trust.previous, root=trust.root)
    return sign(make_statement({TRUST_FILE: sha256_bytes(document)}, TRUST_PREDICATE, predicate), root)


def verify_trust(document: bytes, bundle: bytes, root: PublicKey) -> Trust:
    """The trust that `root` signed for. Raises IntegrityError where document, bundle and key do not belong together."""
    predicate = _signed_about(document, verify(bundle, root), TRUST_PREDICATE, TrustPredicate, "trust document")
    trust = read_trust(document)
    if trust.root != root.fingerprint:
        raise IntegrityError(
            f"the trust document names another root key, {trust.root}", where=f"key {root.fingerprint}"
        )
    if predicate != TrustPredicate(serial=trust.serial, previous=trust.previous, root=trust.root):
        raise IntegrityError("the trust document's place in the series is not the one that was signed")
    return trust


def sign_rotation(document: bytes, *, old: SigningKey, new: SigningKey, time: str) -> tuple[bytes, bytes]:
    """Two bundles over one statement, the old key's and the new key's. `document` is the trust after the rotation."""
    predicate = RotationPredicate(old=old.public.fingerprint, new=new.public.fingerprint, time=time)
    statement = make_statement({TRUST_FILE: sha256_bytes(document)}, ROTATION_PREDICATE, predicate)
    return sign(statement, old), sign(statement, new)


def verify_rotation(document: bytes, bundles: tuple[bytes, bytes], *, old: PublicKey, new: PublicKey) -> None:
    """Check that both keys agreed to the rotation into `document`. Raises IntegrityError."""
    by_old, by_new = verify(bundles[0], old), verify(bundles[1], new)
    if by_old != by_new:
        raise IntegrityError("the two keys of the rotation signed different statements")
    rotation = _signed_about(document, by_old, ROTATION_PREDICATE, RotationPredicate, "key rotation")
    if (rotation.old, rotation.new) != (old.fingerprint, new.fingerprint):
        raise IntegrityError("the rotation is between other keys", where=f"key {old.fingerprint}")


def _signed_about(document: bytes, payload: bytes, predicate_type: str, kind: type[R], name: str) -> R:
    statement = parse_statement(payload)
    predicate = parse_predicate(statement, predicate_type, kind, name)
    if {subject.name: subject.digests.sha256 for subject in statement.subject} != {TRUST_FILE: sha256_bytes(document)}:
        raise IntegrityError(
            "the trust document is not the one that was signed",
            where=f"sha256:{sha256_bytes(document)}",
            hint="It was changed after signing, or it belongs to another signature.",
        )
    return predicate


def _load(document: bytes) -> dict[str, Any]:
    """The fields of a document of our form, in which every value is JSON. No YAML reader is asked: they are slow."""
    fields: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    for line in document.decode().split("\n")[1:-1]:
        name, _, value = line.lstrip(" -").partition(":")
        if line.startswith("  - "):
            entries.append({})
        # An entry's line before any entry is found where the document is written again.
        inside = entries[-1] if entries and line.startswith("  ") else fields
        inside[name] = json.loads(value) if value else entries
    return fields


def _scalar(value: str | int | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def _malformed() -> IntegrityError:
    return IntegrityError(
        "this is not a trust document as govern writes it",
        hint="It was changed by hand or by another tool. Restore it; change it with: govern trust",
    )
