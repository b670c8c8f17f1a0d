"""OpenSSF model signatures (OMS): one Sigstore bundle over the SHA-256 of every file of a model.

Written and read here rather than by the `model_signing` library, which wants the private key in a file and all of
sigstore with it; the library is the second opinion of our tests. Source: ossf/model-signing-spec, and the payload of
`model_signing` 1.1.1 (predicate signature v1.0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import Field

from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.records import Record, Sha256
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.statement import make_statement, parse_predicate, parse_statement

MODEL_SIGNATURE: Final = "model.sig"
MODEL_PREDICATE: Final = "https://model_signing/signature/v1.0"
WHOLE: Final = "."
"""What the format calls the only file of a model that is no folder."""


class _Resource(Record):
    name: str
    algorithm: Literal["sha256"] = "sha256"
    digest: Sha256


class _Serialization(Record):
    method: Literal["files"] = "files"
    hash_type: Literal["sha256"] = "sha256"
    allow_symlinks: Literal[False] = False
    ignore_paths: tuple[Literal["model.sig"]] = (MODEL_SIGNATURE,)


class _Manifest(Record):
    serialization: _Serialization = _Serialization()
    resources: Annotated[tuple[_Resource, ...], Field(min_length=1)]


def sign_model(name: str, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The signature of a model called `name`. `files` maps each path in it, or `WHOLE`, to its SHA-256."""
    return sign(_statement(name, files), key, hint=_hint(key.public))


def verify_model(bundle: bytes, key: PublicKey) -> dict[str, str]:
    """The files that `key` signed, as `sign_model` was given them. Raises IntegrityError."""
    payload = verify(bundle, key, hint=_hint(key))
    statement = parse_statement(payload)
    manifest = parse_predicate(statement, MODEL_PREDICATE, _Manifest, "model")
    files = {resource.name: resource.digest for resource in manifest.resources}
    if _statement(statement.subject[0].name, files) != payload:
        raise IntegrityError("the model signature's files and its digest over them do not belong together")
    return files


def _statement(name: str, files: Mapping[str, str]) -> bytes:
    # The format's digest runs over the files' digests alone; their names are bound by the signature over the whole.
    ordered = sorted(files, key=PurePosixPath)
    root = hashlib.sha256(b"".join(bytes.fromhex(files[path]) for path in ordered)).hexdigest()
    manifest = _Manifest(resources=tuple(_Resource(name=path, digest=files[path]) for path in ordered))
    return make_statement({name: root}, MODEL_PREDICATE, manifest)


def _hint(key: PublicKey) -> str:
    """The format names a key by the SHA-256 of its PEM form, not of its DER form as a fingerprint does."""
    return sha256_bytes(key.pem)
