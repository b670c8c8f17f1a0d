"""Safetensors headers: where each tensor lies in its file (https://github.com/huggingface/safetensors, "Format").

Read by hand because the library does not tell offsets, and an edit in place needs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError
from govern.sources.checked_json import require_file
from govern.sources.model_files import shard_names

if TYPE_CHECKING:
    import torch

_LARGEST_HEADER = 100_000_000  # the limit of the reference implementation, in bytes
_LARGEST_NUMBER = 1 << 53
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


@dataclass(frozen=True)
class Entry:
    """One tensor: its stored name, its type as safetensors names it ("BF16"), its shape, its bytes [begin, end)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A file's tensors by name, and its free-form metadata."""

    tensors: dict[str, Entry]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read a safetensors file's header.

    Raises IntegrityError where it is damaged: no header of that length, no known type, bytes that do not fit the shape,
    lie outside the file or belong to two tensors.
    """
    require_file(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(_LARGEST_HEADER, size - 8):
            raise _damaged(path, "it has no header of the length that it states")
        data = stream.read(length)
    try:
        fields = json.loads(data.decode(), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise _damaged(path, "it is no JSON") from None
    if not isinstance(fields, dict):
        raise _damaged(path, "it is no JSON object")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "`__metadata__` holds something else than texts")
    tensors = {name: _entry(path, name, field, 8 + length, size) for name, field in fields.items()}
    end = 8 + length
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise _damaged(path, f"the bytes of {name!r} do not begin where those before it end")
        end = entry.end
    if end != size:
        raise _damaged(path, "the file holds bytes that belong to no tensor")
    return Header(tensors, metadata)


def _entry(path: Path, name: str, field: Any, start: int, size: int) -> Entry:
    try:
        name.encode()
        dtype, shape, (begin, end) = field["dtype"], tuple(field["shape"]), field["data_offsets"]
        whole = all(type(number) is int and 0 <= number < _LARGEST_NUMBER for number in (*shape, begin, end))
        fits = whole and 8 * (end - begin) == prod(shape) * _BITS[dtype] and start + end <= size
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise _damaged(path, f"{name!r} has no type and shape that fit its bytes".encode(errors="replace").decode())
    return Entry(name, dtype, shape, start + begin, start + end)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def locate(folder: Path, names: set[str]) -> dict[str, dict[str, Entry]]:
    """Which shard of a model holds each of `names`: shard name → tensor name → entry.

    Raises IntegrityError for a name that no shard holds.
    """
    found: dict[str, dict[str, Entry]] = {}
    for shard in shard_names(folder):
        entries = read_header(folder / shard).tensors
        here = {name: entries[name] for name in sorted(names & entries.keys())}
        if here:
            found[shard] = here
    missing = names - {name for entries in found.values() for name in entries}
    if missing:
        raise IntegrityError(
            f"the model holds no tensor {min(missing)!r} ({len(missing)} of {len(names)} are unknown to it)",
            where=str(folder),
            hint="The removal belongs to another model.",
        )
    return found


def _damaged(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the file's safetensors header is damaged: {reason}", where=str(path), hint="Fetch the model again."
    )


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Tensors of a model folder by checkpoint name, as stored. Raises IntegrityError for a name it does not hold."""
    from safetensors import safe_open

    tensors: dict[str, torch.Tensor] = {}
    for shard, entries in locate(path, set(names)).items():
        with safe_open(path / shard, framework="pt") as opened:
            tensors.update((name, opened.get_tensor(name)) for name in entries)
    return tensors
