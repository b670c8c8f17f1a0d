"""`govern audit publish`: the log as a folder of tiles, for any web server or bucket."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from govern import limits
from govern.audit import Checkpoint, Log
from govern.audit.merkle import leaf_hash
from govern.audit.tiles import (
    CHECKPOINT,
    ENTRIES,
    LARGE_ENTRIES,
    LONGEST_ENTRY,
    WIDTH,
    Tile,
    Tree,
    format_bundle,
    tiles_of,
    top,
)
from govern.errors import UsageError, at
from govern.workflow.log.checkpoints import KeptCheckpoint, kept_paths, newest
from govern.workflow.log.follow import read_checkpoint, read_folder
from govern.workspace import Workspace, write_atomic, writing


@dataclass(frozen=True)
class PublishedLog:
    """The checkpoint that a folder now hands out, and how many files were written for it."""

    checkpoint: Checkpoint
    written: int


def publish(workspace: Path, folder: Path) -> PublishedLog:
    """Write the log up to its newest checkpoint as tiles into `folder`, or add what came since the last time.

    The checkpoint is written last, so the folder is whole at every moment; what was killed is completed by the next
    call. Every hash is computed from the events, and must lead to the checkpoint's root. Raises UsageError where there
    is no checkpoint or the folder cannot be written, IntegrityError where the log does not go on from what the folder
    handed out before.
    """
    place = Workspace.open(workspace)
    with Log.read(place.database) as log, writing("the tiles", folder):
        kept = newest(place, log)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            known = _known(folder, log, kept)
            target = _Folder(folder, log)
            # A part of a tile belongs to each checkpoint that was signed, for somebody may hold it.
            sizes = (int(path.name) for path in kept_paths(place))
            for size in sorted(size for size in sizes if size > known):
                target.add(size, known)
                known = size
            with at(folder):
                Tree(read_folder(folder), kept.checkpoint.size).check(kept.checkpoint)
            target.write(CHECKPOINT, kept.note)
    return PublishedLog(kept.checkpoint, target.written)


def _known(folder: Path, log: Log, kept: KeptCheckpoint) -> int:
    """The number of events that the folder hands out already."""
    known = read_checkpoint(folder / CHECKPOINT, kept.verifier)
    if known is None:
        return 0
    with at(folder / CHECKPOINT):
        log.check_prefix(kept.checkpoint, known)
    return known.size


class _Folder:
    """A folder of tiles that grows."""

    def __init__(self, root: Path, log: Log) -> None:
        self.written = 0
        self._root = root
        self._log = log

    def add(self, size: int, known: int) -> None:
        """Write the tiles of a tree of `size` that were not whole when it had `known` leaves."""
        tree = Tree(read_folder(self._root), size)
        for tile in tiles_of(size, known):
            first = tile.index * WIDTH
            if tile.kind == "0":
                bodies = [self._log.event(seq).body for seq in range(first, first + tile.width)]
                self._bundle(tile, bodies)
                hashes = [leaf_hash(body) for body in bodies]
            else:
                hashes = [top(tree.hashes(int(tile.kind) - 1, first + place)) for place in range(tile.width)]
            self._tile(tile, b"".join(hashes))

    def write(self, path: str, data: bytes) -> None:
        """Write a file, unless it holds these bytes already."""
        place = self._root / path
        if not place.is_file() or place.read_bytes() != data:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, data)
            self.written += 1

    def _bundle(self, tile: Tile, bodies: list[bytes]) -> None:
        large = max(map(len, bodies)) > LONGEST_ENTRY
        kind = LARGE_ENTRIES if large else ENTRIES
        data = format_bundle(bodies, kind)
        if len(data) > limits.BUNDLE_BYTES:
            raise UsageError(f"{len(bodies)} events in a row have more than {limits.BUNDLE_BYTES:,} bytes: {tile.path}")
        self._tile(Tile(kind, tile.index, tile.width), data)

    def _tile(self, tile: Tile, data: bytes) -> None:
        self.write(tile.path, data)
        if tile.width == WIDTH:
            shutil.rmtree(self._root / f"{tile.path}.p", ignore_errors=True)
