"""The manifest of a mirror: the official question sets on a machine without internet."""

from __future__ import annotations

from typing import Literal

from govern.records.base import Record, Sha256


class MirroredDataset(Record):
    """One data set by its path on the hub. `revision` is None where somebody laid it out by hand."""

    path: str
    revision: str | None


class Mirror(Record):
    """What a mirror holds: each file's SHA-256 by its path inside the mirror."""

    format_version: Literal[1] = 1
    datasets: tuple[MirroredDataset, ...]
    files: dict[str, Sha256]
