"""Key pairs on disk: the private half encrypted and closed to others, neither half ever overwritten."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from govern import limits
from govern.errors import GovernError, UsageError
from govern.signing import pkcs8
from govern.workspace.atomic import sync_folder


def public_path(path: Path) -> Path:
    """Where the public half of the private key at `path` lies: beside it, as `.pub`."""
    return path.with_suffix(".pub")


def create_key_files(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes) -> None:
    """Write a new pair: `key` encrypted at `path` (mode 0600), its public half (SubjectPublicKeyInfo, PEM) beside it.

    Raises UsageError for an empty password, or where either file exists.
    """
    if not password:
        raise UsageError("the key's password is empty", where=str(path), hint="Choose a password of some length.")
    public = public_path(path)
    if public == path:
        raise UsageError("a private key cannot end in .pub", where=str(path), hint="Name it, say, signing.pem.")
    if path.exists() and not public.exists():
        raise _exists(
            path,
            f"Its public half is missing, as where making the pair was cut short. Write it: "
            f"openssl pkey -in {path} -pubout -out {public}",
        )
    for existing in (path, public):
        if existing.exists():
            raise _exists(existing)
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_half = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path, pkcs8.encrypt(plain, password), mode=0o600)
        try:
            _create(public, public_half, mode=0o644)
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        raise GovernError(f"the key cannot be written: {error.strerror}", where=str(path)) from None


def read_private_key(path: Path, password: bytes) -> PrivateKeyTypes:
    """Read an encrypted private key.

    Raises UsageError where the file is missing, open to others or not encrypted, or the password is wrong.
    """
    try:
        # Without waiting for the other end of a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            pem = stream.read(limits.KEY_BYTES + 1) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise UsageError("there is no such key", where=str(path), hint="Make one with: govern keys generate") from None
    except OSError as error:
        raise UsageError(f"the key cannot be read: {error.strerror}", where=str(path)) from None
    if b"-----BEGIN PUBLIC KEY-----" in pem:
        raise UsageError(
            "this is a public key, and signing takes the private one",
            where=str(path),
            hint="It was made beside it, by default with the ending .pem.",
        )
    if mode & 0o077:
        raise UsageError(
            f"the private key is open to other users (mode {mode & 0o777:04o})",
            where=str(path),
            hint=f"Close it with: chmod 600 {path}",
        )
    if not password:
        raise UsageError("the key's password is empty", where=str(path), hint="Set GOVERN_KEY_PASSWORD.")
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in pem or len(pem) > limits.KEY_BYTES:
        raise UsageError(
            "this is not an encrypted private key (PKCS#8, PEM)",
            where=str(path),
            hint="Make one with: govern keys generate",
        )
    try:
        pkcs8.check_costs(pem)
        return serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(
            "the password is wrong, or the key file is damaged",
            where=str(path),
            hint="Check GOVERN_KEY_PASSWORD, or restore the key from a backup.",
        ) from None


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


def _exists(path: Path, hint: str = "") -> UsageError:
    return UsageError(
        "a key is never overwritten, and this file exists",
        where=str(path),
        hint=hint
        or "Name another file with --out, or move the old pair away and keep it: old reports need its public half.",
    )
