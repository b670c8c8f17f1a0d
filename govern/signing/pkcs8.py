"""Private keys at rest: PKCS#8 encrypted with scrypt and AES-256-CBC.

`cryptography` reads this form but writes only PBKDF2 with 2,048 rounds, which a graphics card tries by the million;
so the few lines of DER are ours. Sources: RFC 5958 section 3 (EncryptedPrivateKeyInfo), RFC 8018 appendix A.4 (PBES2),
RFC 7914 section 7 (scrypt's parameters).
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from itertools import islice
from math import prod

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from govern import limits

# 16 MiB a guess, five times over: as costly as N = 2^17 with p = 1, and the largest N that the `openssl` command
# accepts, whose limit is 32 MiB.
SCRYPT_N = 2**14
SCRYPT_R = 8
SCRYPT_P = 5

_PBES2 = "1.2.840.113549.1.5.13"
_SCRYPT = "1.3.6.1.4.1.11591.4.11"
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"

_INTEGER, _OCTET_STRING, _OBJECT_IDENTIFIER, _SEQUENCE = 0x02, 0x04, 0x06, 0x30


def encrypt(private: bytes, password: bytes) -> bytes:
    """Encrypt an unencrypted PKCS#8 key (DER) under `password`; returns PEM that openssl reads as well."""
    salt, iv = os.urandom(16), os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(password)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(private) + padder.finalize()) + encryptor.finalize()

    costs = b"".join(_integer(cost) for cost in (SCRYPT_N, SCRYPT_R, SCRYPT_P))
    derivation = _sequence(_oid(_SCRYPT), _sequence(_tagged(_OCTET_STRING, salt), costs))
    cipher = _sequence(_oid(_AES_256_CBC), _tagged(_OCTET_STRING, iv))
    algorithm = _sequence(_oid(_PBES2), _sequence(derivation, cipher))
    return _pem("ENCRYPTED PRIVATE KEY", _sequence(algorithm, _tagged(_OCTET_STRING, encrypted)))


def check_costs(pem: bytes) -> None:
    """Check that an encrypted key's password hash takes seconds at most, and the memory that a computer has.

    Raises ValueError where it takes more, or where `pem` is not one encrypted PKCS#8 key.
    """
    blocks = re.findall(rb"-----BEGIN ([^-\n]*)-----([^-]*)-----END", pem)
    if [label for label, _ in blocks] != [b"ENCRYPTED PRIVATE KEY"] or pem.count(b"-----BEGIN ") != 1:
        raise ValueError("this is not one encrypted key")
    key = _first(base64.b64decode(b"".join(blocks[0][1].split()), validate=True))
    algorithm = _first(key)
    # PBKDF2 and what was before it say their rounds first, scrypt its N, r and p.
    numbers = list(islice(_integers(algorithm), 3))
    scrypt = _oid(_SCRYPT) in algorithm
    if not numbers or (128 * prod(numbers) > limits.KEY_MEMORY if scrypt else numbers[0] > limits.KEY_ROUNDS):
        raise ValueError("this key's password hash asks for too much time or memory")


def _first(der: bytes) -> bytes:
    """The content of the first of a series of DER values."""
    return next((content for _, content in _parts(der)), b"")


def _integers(der: bytes, depth: int = 6) -> Iterator[int]:
    """The integers in a series of DER values, in order; those that lie deeper are none of PBES2's."""
    for tag, content in _parts(der):
        if tag == _INTEGER:
            yield int.from_bytes(content, "big")
        elif tag == _SEQUENCE and depth:
            yield from _integers(content, depth - 1)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Each of a series of DER values: its tag and its content. Raises ValueError where one is cut short."""
    start = 0
    while start < len(der):
        tag, size = der[start], der[start + 1] if start + 1 < len(der) else len(der)
        start += 2
        if size >= 0x80:
            size, start = int.from_bytes(der[start : start + size - 0x80], "big"), start + size - 0x80
        if len(der) < start + size:
            raise ValueError("a DER value is cut short")
        yield tag, der[start : start + size]
        start += size


def _pem(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tagged(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    # One bit more than the magnitude, for the sign.
    return _tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        content += bytes(reversed(groups))
    return _tagged(_OBJECT_IDENTIFIER, bytes(content))
