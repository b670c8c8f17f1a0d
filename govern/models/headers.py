"""Safetensors headers: where each tensor lies in its file (https://github.com/huggingface/safetensors, "Format").

Read by hand because the library does not tell offsets, and an edit in place needs them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from govern.errors import IntegrityError
from govern.sources.model_files import shard_names

_LARGEST_HEADER = 100_000_000  # the limit of the reference implementation, in bytes


@dataclass(frozen=True)
class Entry:
    """One tensor: its type as safetensors names it ("BF16"), its shape, and its bytes [begin, end) in the file."""

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
    """Read a safetensors file's header. Raises IntegrityError where it is damaged."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(_LARGEST_HEADER, size - 8):
            raise _damaged(path)
        data = stream.read(length)
    try:
        fields = json.loads(data)
        metadata = fields.pop("__metadata__", {})
        tensors = {
            name: Entry(
                field["dtype"],
                tuple(field["shape"]),
                8 + length + field["data_offsets"][0],
                8 + length + field["data_offsets"][1],
            )
            for name, field in fields.items()
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise _damaged(path) from None
    if any(not 8 + length <= entry.begin <= entry.end <= size for entry in tensors.values()):
        raise _damaged(path)
    return Header(tensors, metadata)


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


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError("the file's safetensors header is damaged", where=str(path), hint="Fetch the model again.")
