"""Keys that never leave a token (a smart card, an HSM), named by a PKCS#11 URI (RFC 7512). Needs the extra `pkcs11`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from govern.digests import sha256_bytes
from govern.errors import GovernError, UsageError
from govern.signing.keys import SigningKey
from govern.signing.log_key import LogKey

SCHEME: Final = "pkcs11:"
MODULE_VARIABLE: Final = "GOVERN_PKCS11_MODULE"

_ATTRIBUTES: Final = ("token", "object", "id", "serial")
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
# The curve's name as PKCS#11 v3.0 section 2.3.3 writes it, and its object identifier of RFC 8410.
_ED25519: Final = (b"\x13\x0cedwards25519", bytes.fromhex("06032b6570"))


@dataclass(frozen=True)
class TokenUri:
    """Which key of which token, and the shared library that speaks to it. What is None is not asked for."""

    text: str
    module: str
    token: str | None
    serial: bytes | None
    object: str | None
    id: bytes | None


def parse_token_uri(text: str) -> TokenUri:
    """Read a URI such as `pkcs11:token=office;object=ada`. The module is its `module-path`, or GOVERN_PKCS11_MODULE.

    Raises UsageError, also for a PIN in it: other users see arguments.
    """
    path, _, query = text.removeprefix(SCHEME).partition("?")
    if not text.startswith(SCHEME):
        raise _malformed(text, "it does not begin with pkcs11:")
    # RFC 7512 section 2.3: path attributes are parted by ";", query attributes by "&".
    parts = dict(_attribute(text, part) for part in path.split(";") if part)
    asked = dict(_attribute(text, part) for part in query.split("&") if part)
    if asked.keys() & {"pin-value", "pin-source"}:
        raise UsageError(
            "a PIN has no place in an argument", where="pkcs11:", hint="Set GOVERN_PIN, or be asked for it."
        )
    type_ = parts.pop("type", b"private")
    if unknown := [*(parts.keys() - set(_ATTRIBUTES)), *(asked.keys() - {"module-path"})]:
        raise _malformed(text, f"{min(unknown)} is not known here")
    if type_ != b"private" or not parts.keys() & {"object", "id"} or not parts.keys() & {"token", "serial"}:
        raise _malformed(text, "it does not name a token (token or serial) and a private key in it (object or id)")
    module = os.fsdecode(asked.get("module-path", b"")) or os.environ.get(MODULE_VARIABLE, "")
    if not module:
        raise UsageError(
            "it is not said which library speaks to the token",
            where=text,
            hint=f"Set {MODULE_VARIABLE}, or end the URI in ?module-path=/usr/lib/….so",
        )
    try:
        token, label = (parts[name].decode() if name in parts else None for name in ("token", "object"))
    except UnicodeDecodeError:
        raise _malformed(text, "a label is not UTF-8") from None
    return TokenUri(text, module, token, parts.get("serial"), label, parts.get("id"))


def load_token_key(uri: TokenUri, pin: str) -> SigningKey:
    """A P-256 key that signs inside its token.

    Raises UsageError where there is no such key or the PIN is wrong, GovernError where the token fails.
    """
    with _speaking(uri):
        private, parameters, point = _find(uri, pin)
        if parameters != _P256:
            raise UsageError("this is not a P-256 key", where=uri.text, hint="Make one: --key-type EC:prime256v1")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return SigningKey(_P256Key(uri, private, public), throwaway=False)


def load_token_log_key(uri: TokenUri, pin: str) -> LogKey:
    """An Ed25519 key that signs inside its token. Raises as `load_token_key` does."""
    with _speaking(uri):
        private, parameters, point = _find(uri, pin)
        if parameters not in _ED25519:
            raise UsageError("this is not an Ed25519 key", where=uri.text, hint="Make one: --key-type EC:edwards25519")
        public = ed25519.Ed25519PublicKey.from_public_bytes(point)
    return LogKey(_Ed25519Key(uri, private, public))


@dataclass(frozen=True, repr=False)
class _P256Key:
    uri: TokenUri
    private: Any
    public: ec.EllipticCurvePublicKey

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self.public

    def sign(self, data: bytes, algorithm: ec.ECDSA) -> bytes:
        """The token signs a digest and answers r ‖ s (PKCS#11 v3.0 section 2.3.1); the signature is DER."""
        from pkcs11 import Mechanism

        assert isinstance(algorithm.algorithm, hashes.SHA256)  # noqa: S101 - all that our keys sign with
        with _speaking(self.uri):
            told = self.private.sign(bytes.fromhex(sha256_bytes(data)), mechanism=Mechanism.ECDSA)
        half = len(told) // 2
        return encode_dss_signature(int.from_bytes(told[:half], "big"), int.from_bytes(told[half:], "big"))


@dataclass(frozen=True, repr=False)
class _Ed25519Key:
    uri: TokenUri
    private: Any
    public: ed25519.Ed25519PublicKey

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self.public

    def sign(self, data: bytes) -> bytes:
        from pkcs11 import Mechanism

        with _speaking(self.uri):
            return bytes(self.private.sign(data, mechanism=Mechanism.EDDSA))


def _find(uri: TokenUri, pin: str) -> tuple[Any, bytes, bytes]:
    """The private key, its curve (DER, EC_PARAMS) and the public point, as the token holds them."""
    import pkcs11
    from pkcs11 import Attribute, ObjectClass

    token = pkcs11.lib(uri.module).get_token(token_label=uri.token, token_serial=uri.serial)
    try:
        session = token.open(user_pin=pin)
    except pkcs11.exceptions.UserAlreadyLoggedIn:
        # A process is logged in once, for all its sessions with a token.
        session = token.open()
    private = session.get_key(ObjectClass.PRIVATE_KEY, label=uri.object, id=uri.id)
    public = session.get_key(ObjectClass.PUBLIC_KEY, label=uri.object, id=uri.id)
    point = bytes(public[Attribute.EC_POINT])
    # An OCTET STRING around the point; some tokens leave it out.
    if point[:1] == b"\x04" and len(point) == 2 + point[1]:
        point = point[2:]
    return private, bytes(public[Attribute.EC_PARAMS]), point


@contextmanager
def _speaking(uri: TokenUri) -> Iterator[None]:
    """Turn what a token says into our errors."""
    try:
        import pkcs11
        from pkcs11 import exceptions
    except ImportError:
        raise GovernError(
            "keys in tokens need python-pkcs11", hint="Install the extra: pip install 'govern-unlearning[pkcs11]'"
        ) from None
    try:
        yield
    except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange):
        raise UsageError(
            "the token does not take this PIN",
            where=uri.text,
            hint="Check GOVERN_PIN. After a few wrong ones, tokens lock themselves.",
        ) from None
    except (exceptions.NoSuchToken, exceptions.NoSuchKey) as error:
        raise UsageError(f"there is none: {error}", where=uri.text) from None
    except (exceptions.MultipleObjectsReturned, exceptions.MultipleTokensReturned) as error:
        raise UsageError(f"it names more than one: {error}", where=uri.text, hint="Add id= or serial=.") from None
    except pkcs11.PKCS11Error as error:
        raise GovernError(f"the token fails: {type(error).__name__} {error}".rstrip(), where=uri.text) from None
    except ValueError as error:
        raise GovernError(f"the token holds a damaged key: {error}", where=uri.text) from None


def _attribute(text: str, part: str) -> tuple[str, bytes]:
    name, equals, value = part.partition("=")
    if not equals:
        raise _malformed(text, f"{part!r} has no value")
    return name, unquote_to_bytes(value)


def _malformed(text: str, what: str) -> UsageError:
    return UsageError(
        f"this is not a key's PKCS#11 URI: {what}", where=text, hint="Write pkcs11:token=LABEL;object=LABEL (RFC 7512)."
    )
