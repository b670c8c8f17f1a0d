"""Sigstore bundles (v0.3) with a public-key hint and one DSSE signature.

A bundle has one form alone, its RFC 8785 bytes, and every field of it is fixed, derived from the key or signed:
a changed bundle is refused even where the change would mean nothing, but for the twin that every ECDSA signature has
(`PublicKey.verify`). So nothing may be known by its bundle's bytes alone. Source: sigstore/protobuf-specs,
sigstore_bundle.proto and envelope.proto.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

from pydantic import Field

from govern.errors import IntegrityError
from govern.records import Sha256
from govern.signing.dsse import pae
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.statement import WireRecord, parse_canonical

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class _PublicKeyIdentifier(WireRecord):
    hint: Sha256


class _VerificationMaterial(WireRecord):
    public_key: _PublicKeyIdentifier = Field(alias="publicKey")


class _Signature(WireRecord):
    sig: str


class _Envelope(WireRecord):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"] = Field(default=PAYLOAD_TYPE, alias="payloadType")
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


class _Bundle(WireRecord):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = Field(default=MEDIA_TYPE, alias="mediaType")
    verification_material: _VerificationMaterial = Field(alias="verificationMaterial")
    dsse_envelope: _Envelope = Field(alias="dsseEnvelope")


def sign(statement: bytes, key: SigningKey, *, hint: str | None = None) -> bytes:
    """Sign a statement's bytes; returns the bundle as JSON.

    `hint` is what the bundle says of its key, by default the key's fingerprint.
    """
    return _Bundle(
        verification_material=_VerificationMaterial(
            public_key=_PublicKeyIdentifier(hint=hint or key.public.fingerprint)
        ),
        dsse_envelope=_Envelope(
            payload=base64.b64encode(statement).decode(),
            signatures=(_Signature(sig=base64.b64encode(key.sign(pae(PAYLOAD_TYPE, statement))).decode()),),
        ),
    ).canonical()


def verify(bundle: bytes, key: PublicKey, *, hint: str | None = None) -> bytes:
    """The signed payload of a bundle, if `key` signed it and its hint is `hint`, by default the key's fingerprint.

    Raises IntegrityError for everything else.
    """
    parsed = parse_canonical(_Bundle, bundle, "bundle")
    told = parsed.verification_material.public_key.hint
    if told != (hint or key.fingerprint):
        raise IntegrityError(
            f"the bundle was signed by another key, {told}",
            where=f"key {key.fingerprint}",
            hint="Check with the signer's own public key.",
        )
    payload = decode_part(parsed.dsse_envelope.payload, "payload")
    signature = decode_part(parsed.dsse_envelope.signatures[0].sig, "signature")
    key.verify(signature, pae(parsed.dsse_envelope.payload_type, payload))
    return payload


def claimed_signer(bundle: bytes) -> str:
    """The fingerprint that a bundle claims for its signer: a way to find the key, proof of nothing.

    Raises IntegrityError for a malformed bundle.
    """
    return parse_canonical(_Bundle, bundle, "bundle").verification_material.public_key.hint


def decode_part(text: str, name: str) -> bytes:
    """Bytes from base64 in its one canonical form. Raises IntegrityError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise IntegrityError(f"the bundle's {name} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise IntegrityError(f"the bundle's {name} is not base64 in its one canonical form")
    return data
