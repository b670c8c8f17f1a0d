"""OpenSSF model signatures as any signer writes them (signature v1.0, by key): what was signed, and whether it is here.

`model_signature` writes and reads the one form of our own. This reads all that the format allows for keys on P-256:
files or shards, symbolic links or none, paths that do not count, JSON in any order and with fields that we do not know.
Source: the payload of `model_signing` 1.1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from govern import limits
from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError
from govern.records import Sha256
from govern.signing.bundle import PAYLOAD_TYPE, decode_part
from govern.signing.dsse import pae
from govern.signing.keys import PublicKey
from govern.signing.model_signature import WHOLE

_SHARD: Final = re.compile(r"(.+):(0|[1-9]\d{0,18}):([1-9]\d{0,18})", re.DOTALL)

M = TypeVar("M", bound="_Part")


class _Part(BaseModel):
    """An object of the format. Fields that we do not know are passed over, as v1.0 wants it."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Key(_Part):
    hint: Sha256


class _Material(_Part):
    key: _Key = Field(alias="publicKey")


class _ModelSignature(_Part):
    sig: str


class _ModelEnvelope(_Part):
    payload: str
    kind: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: Annotated[tuple[_ModelSignature, ...], Field(min_length=1, max_length=1)]


class _ModelBundle(_Part):
    media: Literal[
        "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"
    ] = Field(alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _ModelEnvelope = Field(alias="dsseEnvelope")


class _Digest(_Part):
    sha256: Sha256


class _Subject(_Part):
    name: str
    digest: _Digest


class Resource(_Part):
    """A file, or a shard `path:start:end` of one, and its SHA-256."""

    name: str
    algorithm: str
    digest: Sha256


class Serialization(_Part):
    """How the model was cut into resources. `shard_size` is in bytes."""

    method: Literal["files", "shards"]
    hash_type: Literal["sha256"]
    allow_symlinks: Annotated[bool, Field(strict=True)]
    ignore_paths: tuple[str, ...] = ()
    shard_size: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.shard_size is None) != (self.method == "files"):
            raise ValueError("shards have a size, and files none")
        if not all(_is_inside(path) for path in self.ignore_paths):
            raise ValueError("a path that is to be ignored leads out of the model")
        return self


class ModelManifest(_Part):
    """What a signature says a model consists of, its resources in the order in which they were signed."""

    serialization: Serialization
    resources: Annotated[tuple[Resource, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        size = self.serialization.shard_size
        if {resource.algorithm for resource in self.resources} != {f"sha256-sharded-{size}" if size else "sha256"}:
            raise ValueError("a resource has another digest than was said")
        names = [resource.name for resource in self.resources]
        if len(set(names)) != len(names):
            raise ValueError("one resource is listed twice")
        if self.serialization.method == "shards":
            names = self._sharded(names)
        if names != [WHOLE] and not all(_is_inside(name) for name in names):
            raise ValueError("a resource leads out of the model, or is no plain path")
        return self

    def _sharded(self, names: list[str]) -> list[str]:
        """The files of the shards, where each file's follow on one another, all of the same size but the last."""
        ends: dict[str, int] = {}
        for name in names:
            matched = _SHARD.fullmatch(name)
            if not matched or int(matched[2]) != ends.get(matched[1], 0):
                raise ValueError("a file's shards do not follow on one another")
            start, ends[matched[1]] = int(matched[2]), int(matched[3])
            size = self.serialization.shard_size or 0
            if start % size or not start < ends[matched[1]] <= start + size:
                raise ValueError("a shard has another size than was said")
        return list(ends)


class _Statement(_Part):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(alias="predicateType")
    predicate: ModelManifest


def read_manifest(bundle: bytes, key: PublicKey) -> ModelManifest:
    """What `key` signed as a model, by whatever tool. Raises IntegrityError where it did not, or unsoundly."""
    parsed = _parse(_ModelBundle, bundle, "model signature")
    if parsed.material.key.hint != sha256_bytes(key.pem):
        raise IntegrityError("the model was signed with another key", where=f"key {key.fingerprint}")
    payload = decode_part(parsed.envelope.payload, "payload")
    key.verify(decode_part(parsed.envelope.signatures[0].sig, "signature"), pae(PAYLOAD_TYPE, payload))
    statement = _parse(_Statement, payload, "model signature's statement")
    digests = b"".join(bytes.fromhex(resource.digest) for resource in statement.predicate.resources)
    if hashlib.sha256(digests).hexdigest() != statement.subject[0].digest.sha256:
        raise IntegrityError("the model signature's files and its digest over them do not belong together")
    return statement.predicate


def check_model(model: Path, manifest: ModelManifest) -> None:
    """Hold a model, a folder or one file, against what was signed. Raises IntegrityError naming what differs.

    Links are followed where the signer allowed them, and only to files inside of the model.
    """
    found = dict(_resources(model, manifest.serialization))
    signed = {resource.name: resource.digest for resource in manifest.resources}
    for name in sorted(found.keys() | signed.keys()):
        if name not in found:
            raise IntegrityError("a file that was signed, or a part of it, is missing", where=str(model / name))
        if name not in signed:
            raise IntegrityError("a file, or a part of it, was not signed", where=str(model / name))
        if found[name] != signed[name]:
            raise IntegrityError("a file was changed since it was signed", where=str(model / name))


def _resources(model: Path, serialization: Serialization) -> Iterator[tuple[str, str]]:
    """Each resource of a model as it lies there, and its SHA-256."""
    for path in (model, *model.rglob("*")):
        name = path.relative_to(model).as_posix()
        if path.is_symlink() and path != model:
            inside = path.exists() and path.resolve().is_relative_to(model.resolve())
            if not serialization.allow_symlinks or not inside or path.is_dir():
                raise IntegrityError("a symbolic link has no place in this model", where=str(path))
        if path.is_dir() or any(PurePosixPath(name).is_relative_to(left) for left in serialization.ignore_paths):
            continue
        if not path.is_file():
            raise IntegrityError("this is not a file", where=str(path))
        if serialization.shard_size is None:
            yield name, sha256_file(path)
            continue
        with path.open("rb") as stream:
            start = 0
            # One shard at a time in memory, in pieces: a shard may be as large as the model.
            while (size := min(serialization.shard_size, path.stat().st_size - start)) > 0:
                digest, left = hashlib.sha256(), size
                while left and (piece := stream.read(min(left, 1 << 20))):
                    digest.update(piece)
                    left -= len(piece)
                yield f"{name}:{start}:{start + size}", digest.hexdigest()
                start += size


def _is_inside(path: str) -> bool:
    """Whether a path is relative, in its one plain form, and stays where it begins."""
    plain = PurePosixPath(path)
    return str(plain) == path != WHOLE and not {"..", "/", "//"} & set(plain.parts) and "\0" not in path


def _parse(kind: type[M], data: bytes, name: str) -> M:
    limits.check_json(data, limits.SIGNED_BYTES, name)
    try:
        return kind.model_validate(json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise IntegrityError(f"the {name} is malformed: {place or 'it is no object'}") from None
    except (ValueError, RecursionError):
        raise IntegrityError(f"the {name} is malformed") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("one name stands twice in an object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
