"""The log as tiles (c2sp.org/tlog-tiles): files that any web server can hand out, and what a reader computes from them.

A tile holds up to 256 hashes of one level of the tree, every eighth level from the leaves up; a bundle holds the events
of a tile of leaves. Nothing that a reader is told counts until it was hashed up to the root of a signed checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from govern import limits
from govern.audit import merkle
from govern.audit.checkpoint import Checkpoint
from govern.errors import IntegrityError, SourceError

CHECKPOINT: Final = "checkpoint"
WIDTH: Final = 256
LONGEST_ENTRY: Final = 0xFFFF
"""Bytes of the largest event that a bundle of the specification can hold: its length is a number of 16 bits."""

ENTRIES: Final = "entries"
LARGE_ENTRIES: Final = "large-entries"
"""Bundles with lengths of 32 bits, at a path of our own. They stand in for those that cannot hold their events."""

_LEVEL_BITS: Final = 8
_PREFIX: Final = {ENTRIES: 2, LARGE_ENTRIES: 4}
_PATH = re.compile(r"tile/(0|[1-9][0-9]?|entries|large-entries)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?")

Read = Callable[[str, int], bytes | None]
"""Reads the file of a path, of which no more than so many bytes are wanted. None where there is none."""


@dataclass(frozen=True)
class Tile:
    """A tile of a level ("0" for the leaves), or a bundle of entries: its place in the row, and how much it holds."""

    kind: str
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's address."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        *most, last = (digits[place : place + 3] for place in range(0, len(digits), 3))
        whole = "/".join(["tile", self.kind, *(f"x{part}" for part in most), last])
        return whole if self.width == WIDTH else f"{whole}.p/{self.width}"

    @property
    def whole(self) -> Tile:
        """The full tile in the same place."""
        return Tile(self.kind, self.index)

    @property
    def most(self) -> int:
        """How many bytes its file may have."""
        return limits.BUNDLE_BYTES if self.kind in _PREFIX else WIDTH * merkle.HASH_SIZE


def parse_path(path: str) -> Tile | None:
    """The tile that a path names, None where it names none."""
    matched = _PATH.fullmatch(path)
    if not matched:
        return None
    tile = Tile(matched[1], int(matched[2].replace("x", "").replace("/", "")), int(matched[3] or WIDTH))
    # One name for one tile: no zeros before a number, and no part that is empty or all of it.
    return tile if tile.path == path and 0 < tile.width <= WIDTH else None


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles of hashes of a tree of `size`, lowest level first, without those that were full `since` before."""
    level = 0
    while count := size >> _LEVEL_BITS * level:
        for index in range((since >> _LEVEL_BITS * level) // WIDTH, -(-count // WIDTH)):
            yield Tile(str(level), index, min(WIDTH, count - index * WIDTH))
        level += 1


class Tree:
    """The tree of a log's first `size` events, as its tiles tell it; each is read once."""

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self._read = read
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree, which the proofs of govern.audit.merkle are made of. Raises as `hashes`."""
        row, within = divmod(level, _LEVEL_BITS)
        first = index << within
        return top(self.hashes(row, first // WIDTH)[first % WIDTH : first % WIDTH + (1 << within)])

    def hashes(self, row: int, index: int) -> list[bytes]:
        """The hashes of one tile. Raises SourceError where there is none, IntegrityError where it is malformed."""
        if (row, index) not in self._rows:
            width = min(WIDTH, (self.size >> _LEVEL_BITS * row) - index * WIDTH)
            tile, data = self._file(Tile(str(row), index, width))
            step = merkle.HASH_SIZE
            if len(data) != tile.width * step:
                raise IntegrityError(f"this tile does not hold {tile.width} hashes", where=tile.path)
            self._rows[row, index] = [data[place : place + step] for place in range(0, width * step, step)]
        return self._rows[row, index]

    def check(self, checkpoint: Checkpoint) -> None:
        """Hold the tiles against a checkpoint of their size. Raises IntegrityError; as `hashes` too."""
        if merkle.tree_root(self.size, self.node) != checkpoint.root:
            raise IntegrityError("the tiles do not hash to the checkpoint's root")

    def check_growth(self, known: Checkpoint, checkpoint: Checkpoint) -> None:
        """Hold a checkpoint of this size against an older one of the log. Raises IntegrityError; as `hashes` too."""
        if known.size > self.size:
            raise IntegrityError(f"the log went back to {self.size} events, from {known.size} that were seen before")
        if known.size:
            proof = merkle.consistency_proof(known.size, self.size, self.node)
            merkle.verify_consistency(known.size, self.size, known.root, checkpoint.root, proof)

    def prove(self, index: int) -> list[bytes]:
        """The proof that leads from a leaf to the root."""
        return merkle.inclusion_proof(index, self.size, self.node)

    def entries(self, start: int, root: bytes) -> Iterator[bytes]:
        """The entries from `start` to the end, one bundle in memory at a time.

        They count once all were read: with those before, which the tiles tell, they must hash to `root`. Raises
        SourceError where a bundle is missing, IntegrityError where one is malformed or another root comes out.
        """
        frontier = merkle.Frontier.at(start, self.node)
        for index in range(start // WIDTH, -(-self.size // WIDTH)):
            first = index * WIDTH
            for entry in self._bundle(index, min(WIDTH, self.size - first))[max(start - first, 0) :]:
                frontier.append(merkle.leaf_hash(entry))
                yield entry
        if frontier.root() != root:
            raise IntegrityError("the events do not hash to the checkpoint's root")

    def _bundle(self, index: int, width: int) -> list[bytes]:
        try:
            tile, data = self._file(Tile(ENTRIES, index, width))
        except SourceError as missing:
            try:
                tile, data = self._file(Tile(LARGE_ENTRIES, index, width))
            except SourceError:
                raise missing from None
        return parse_bundle(tile, data)[:width]

    def _file(self, tile: Tile) -> tuple[Tile, bytes]:
        # A part may be gone once the whole is there.
        for found in dict.fromkeys((tile, tile.whole)):
            if (data := self._read(found.path, found.most)) is not None:
                return found, data
        raise SourceError("the log does not hand out this tile, which its checkpoint is over", where=tile.path)


def format_bundle(entries: Sequence[bytes], kind: str = ENTRIES) -> bytes:
    """A bundle's bytes: each entry behind its length. Each must be shorter than the lengths of this kind can say."""
    return b"".join(len(entry).to_bytes(_PREFIX[kind], "big") + entry for entry in entries)


def parse_bundle(tile: Tile, data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises IntegrityError where it does not hold as many as the tile is wide."""
    prefix, entries, place = _PREFIX[tile.kind], list[bytes](), 0
    while place < len(data) and len(entries) < tile.width:
        start = place + prefix
        place = start + int.from_bytes(data[place:start], "big")
        entries.append(data[start:place])
    if place != len(data) or len(entries) != tile.width:
        raise IntegrityError(f"this bundle does not hold {tile.width} entries", where=tile.path)
    return entries


def top(row: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(row) > 1:
        row = [merkle.node_hash(*pair) for pair in zip(row[::2], row[1::2], strict=True)]
    return row[0]
