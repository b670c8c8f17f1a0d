"""The tensors of a checkpoint by name, from the safetensors headers alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from govern.models.headers import Entry, read_header
from govern.sources.model_files import shard_names


def stored_tensors(model_path: Path) -> Mapping[str, Entry]:
    """All tensors of a model folder. Raises SourceError where it is no model, IntegrityError where it is damaged."""
    return {
        name: entry
        for shard in shard_names(model_path)
        for name, entry in read_header(model_path / shard).tensors.items()
    }
