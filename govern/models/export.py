"""An edited model as a normal model folder, or only its digest. Both stream the same bytes.

A shard keeps its header and every byte of every other tensor: the changed tensors have their old type and shape, so
each fits exactly where the old one lay.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from govern.digests import sha256_file
from govern.errors import IntegrityError, UsageError
from govern.models.headers import Entry, locate
from govern.sources.model_files import COMPANIONS, digest_of_files, matching, model_files
from govern.workspace.atomic import replace_atomic, writing

if TYPE_CHECKING:
    import torch

_BLOCK = 1 << 22  # bytes
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def edited_digest(base_path: Path, tensors: Mapping[str, torch.Tensor], *, like: str | None = None) -> str:
    """The model digest that `export_model` would give, without writing anything; `like` as in `model_digest`.

    Raises IntegrityError where a tensor's name, type or shape is not the base model's.
    """
    changed = _changed_shards(base_path, tensors)
    files = {}
    for name in model_files(base_path):
        if name in changed:
            digest = hashlib.sha256()
            for block in _blocks(base_path / name, changed[name], tensors):
                digest.update(block)
            files[name] = digest.hexdigest()
        else:
            files[name] = sha256_file(base_path / name)
    return digest_of_files(base_path, files, like=like)


def export_model(
    base_path: Path,
    tensors: Mapping[str, torch.Tensor],
    out: Path,
    *,
    like: str | None = None,
    finish: Callable[[Path, str], None] = lambda _folder, _digest: None,
) -> str:
    """Write the edited model to the folder `out`, whole or not at all, and return its model digest.

    `like` is as in `model_digest`. `finish` is given the written folder and its digest before the folder is put in its
    place, to check it or to add to it: what it raises leaves nothing behind.

    Besides the model's files it takes along its licence and how images become its input; other weights in
    the base folder stay behind, since they still hold what was removed.

    Raises UsageError where `out` is not empty or cannot be written, IntegrityError where a tensor does not fit the
    base model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty", where=str(out), hint="Name a new folder.")
    changed = _changed_shards(base_path, tensors)
    with writing("the model", out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            temporary.chmod(0o755)
            files = {
                name: _write(base_path, name, changed.get(name, {}), tensors, temporary)
                for name in model_files(base_path)
            }
            for name in matching(base_path, COMPANIONS):
                shutil.copyfile(base_path / name, temporary / name)
            digest = digest_of_files(base_path, files, like=like)
            finish(temporary, digest)
            replace_atomic(temporary, out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return digest


def _write(
    base_path: Path, name: str, entries: Mapping[str, Entry], tensors: Mapping[str, torch.Tensor], folder: Path
) -> str:
    """Write one file of the edited model and return its SHA-256."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as stream:
        for block in _blocks(base_path / name, entries, tensors):
            stream.write(block)
            digest.update(block)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def edited_tensors(base_path: Path, tensors: Mapping[str, torch.Tensor]) -> frozenset[str]:
    """The stored names of the tensors in which the edited model's bytes differ from the base's, as they are written.

    Raises IntegrityError where bytes differ that belong to none of `tensors`: an edit is its tensors and nothing else.
    """
    differ: set[str] = set()
    for shard, entries in _changed_shards(base_path, tensors).items():
        with (base_path / shard).open("rb") as stream:
            for block in _blocks(base_path / shard, entries, tensors):
                begin, before = stream.tell(), stream.read(len(block))
                if block == before:
                    continue
                here = [entry for entry in entries.values() if entry.begin <= begin and begin + len(block) <= entry.end]
                if not here or len(block) != len(before):
                    raise IntegrityError(
                        "the edit changes bytes that belong to none of its tensors",
                        where=f"{base_path / shard}:{begin}",
                    )
                differ.add(here[0].name)
    return frozenset(differ)


def _changed_shards(base_path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, Entry]]:
    """Which tensors change in which shard, after checking that each fits."""
    changed = locate(base_path, set(tensors))
    for entries in changed.values():
        for name, entry in entries.items():
            new = (str(tensors[name].dtype).removeprefix("torch."), tuple(tensors[name].shape))
            old = (_DTYPES.get(entry.dtype, entry.dtype), entry.shape)
            if new != old:
                raise IntegrityError(
                    f"{name} is {old[0]} {list(old[1])} in the model, {new[0]} {list(new[1])} in the removal",
                    where=str(base_path),
                    hint="The removal belongs to another model.",
                )
    return changed


def _blocks(path: Path, entries: Mapping[str, Entry], tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes]:
    """A file's bytes in order, the changed tensors' in place of the old ones."""
    with path.open("rb") as stream:
        for name, entry in sorted(entries.items(), key=lambda item: item[1].begin):
            yield from _copy(stream, entry.begin - stream.tell())
            yield _bytes(tensors[name])
            stream.seek(entry.end)
        yield from _copy(stream, path.stat().st_size - stream.tell())


def _copy(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        block = stream.read(min(length, _BLOCK))
        if not block:
            raise IntegrityError("the file ended early", where=str(stream.name))
        length -= len(block)
        yield block


def _bytes(tensor: torch.Tensor) -> bytes:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
