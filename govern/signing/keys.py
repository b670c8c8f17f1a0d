"""Signing keys: ECDSA on P-256 with SHA-256, signatures in DER."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from govern.digests import sha256_bytes
from govern.errors import GovernError, IntegrityError, UsageError
from govern.signing import pkcs8
from govern.workspace.atomic import sync_folder

_ECDSA = ec.ECDSA(hashes.SHA256())


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
        """Check a DER signature over `data`. Raises IntegrityError."""
        try:
            self._key.verify(signature, data, _ECDSA)
        except InvalidSignature:
            raise IntegrityError(
                "the signature does not match the signed content and this key",
                where=f"key {self.fingerprint}",
                hint="The content was changed after signing, or another key signed it.",
            ) from None


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A P-256 private key. A throw-away key lives only in memory: nobody can ever sign with it again."""

    _key: ec.EllipticCurvePrivateKey
    throwaway: bool

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Sign `data`; the signature is DER (r, s)."""
        return self._key.sign(data, _ECDSA)


def throwaway_key() -> SigningKey:
    """A key that never touches the disk."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), throwaway=True)


def public_path(path: Path) -> Path:
    """Where the public half of the private key at `path` lies: beside it, as `.pub`."""
    return path.with_suffix(".pub")


def generate_key(path: Path, password: bytes) -> PublicKey:
    """Make a key pair: the private half encrypted at `path` (mode 0600), the public half beside it as `.pub`.

    Raises UsageError for an empty password, or where either file exists: a key is never overwritten.
    """
    if not password:
        raise UsageError("the key's password is empty", where=str(path), hint="Choose a password of some length.")
    public = public_path(path)
    if public == path:
        raise UsageError("a private key cannot end in .pub", where=str(path), hint="Name it, say, signing.pem.")
    for existing in (path, public):
        if existing.exists():
            raise _exists(existing)
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair = PublicKey(key.public_key())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path, pkcs8.encrypt(plain, password), mode=0o600)
        try:
            _create(public, pair.pem, mode=0o644)
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        raise GovernError(f"the key cannot be written: {error.strerror}", where=str(path)) from None
    return pair


def load_key(path: Path, password: bytes) -> SigningKey:
    """Read an encrypted private key.

    Raises UsageError where the file is missing, open to others, not encrypted or not P-256, or the password is wrong.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            pem = stream.read()
    except FileNotFoundError:
        raise UsageError("there is no such key", where=str(path), hint="Make one with: govern keys generate") from None
    except OSError as error:
        raise UsageError(f"the key cannot be read: {error.strerror}", where=str(path)) from None
    if mode & 0o077:
        raise UsageError(
            f"the private key is open to other users (mode {mode & 0o777:04o})",
            where=str(path),
            hint=f"Close it with: chmod 600 {path}",
        )
    if not password:
        raise UsageError("the key's password is empty", where=str(path), hint="Set GOVERN_KEY_PASSWORD.")
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in pem:
        raise UsageError(
            "this is not an encrypted private key (PKCS#8, PEM)",
            where=str(path),
            hint="Make one with: govern keys generate",
        )
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(
            "the password is wrong, or the key file is damaged",
            where=str(path),
            hint="Check GOVERN_KEY_PASSWORD, or restore the key from a backup.",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError("this is not a P-256 key", where=str(path), hint="Make one with: govern keys generate")
    return SigningKey(key, throwaway=False)


def load_public(pem: bytes) -> PublicKey:
    """Read a PEM public key. Raises IntegrityError for anything but a P-256 key."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IntegrityError("this is not a public key (SubjectPublicKeyInfo, PEM)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IntegrityError("this is not a P-256 public key")
    return PublicKey(key)


def _create(path: Path, data: bytes, *, mode: int) -> None:
    """Put a new file in place, whole. A link, unlike a rename, fails where the name is taken."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise _exists(path) from None
    finally:
        Path(temporary).unlink()
    sync_folder(path.parent)


def _exists(path: Path) -> UsageError:
    return UsageError(
        "a key is never overwritten, and this file exists",
        where=str(path),
        hint="Name another file with --out, or move the old pair away and keep it: old reports need its public half.",
    )
