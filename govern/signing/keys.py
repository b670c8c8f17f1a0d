"""Signing keys: ECDSA on P-256 with SHA-256, signatures in DER."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from govern import limits
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.signing.key_files import create_key_files, read_private_key

_ECDSA = ec.ECDSA(hashes.SHA256())
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group."""


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key. Keys are the same where their fingerprints are; names and key ids prove nothing."""

    _key: ec.EllipticCurvePublicKey

    @property
    def pem(self) -> bytes:
        """The key as a PEM SubjectPublicKeyInfo: what a `.pub` file holds."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the DER SubjectPublicKeyInfo, in hex."""
        return sha256_bytes(
            self._key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a DER signature over `data`. Raises IntegrityError.

        Whoever has a signature (r, s) can make its twin (r, n - s). We write the one with the smaller s and read both,
        since other tools and tokens write either: that a signature verifies says who signed what, and its bytes say
        nothing more.
        """
        try:
            self._key.verify(signature, data, _ECDSA)
        except InvalidSignature:
            raise IntegrityError(
                "the signature does not match the signed content and this key",
                where=f"key {self.fingerprint}",
                hint="The content was changed after signing, or another key signed it.",
            ) from None


class PrivateKey(Protocol):
    """What signs: a key in memory, or one that a token keeps."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""

    def sign(self, data: bytes, algorithm: ec.ECDSA, /) -> bytes:
        """Sign `data`; the signature is DER (r, s)."""


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A P-256 private key. A throw-away key lives only in memory: nobody can ever sign with it again."""

    _key: PrivateKey
    throwaway: bool

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Sign `data`; the signature is DER (r, s), the smaller s of the two that fit."""
        r, s = decode_dss_signature(self._key.sign(data, _ECDSA))
        return encode_dss_signature(r, min(s, _ORDER - s))


def throwaway_key() -> SigningKey:
    """A key that never touches the disk."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), throwaway=True)


def generate_key(path: Path, password: bytes) -> PublicKey:
    """Make a key pair: the private half encrypted at `path` (mode 0600), the public half beside it as `.pub`.

    Raises UsageError for an empty password, or where either file exists: a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    create_key_files(path, key, password)
    return PublicKey(key.public_key())


def load_key(path: Path, password: bytes) -> SigningKey:
    """Read an encrypted private key.

    Raises UsageError where the file is missing, open to others, not encrypted or not P-256, or the password is wrong.
    """
    key = read_private_key(path, password)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError("this is not a P-256 key", where=str(path), hint="Make one with: govern keys generate")
    return SigningKey(key, throwaway=False)


def load_public(pem: bytes) -> PublicKey:
    """Read a PEM public key. Raises IntegrityError for anything but a P-256 key."""
    limits.check_size(pem, limits.KEY_BYTES, "public key")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IntegrityError("this is not a public key (SubjectPublicKeyInfo, PEM)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IntegrityError("this is not a P-256 public key")
    return PublicKey(key)
