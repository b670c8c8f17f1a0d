"""Tiles: their names, the laws that tie them to the tree, and what a reader makes of those of others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.audit import merkle
from govern.audit.checkpoint import Checkpoint, open_checkpoint, parse_vkey
from govern.audit.tiles import (
    ENTRIES,
    LARGE_ENTRIES,
    WIDTH,
    Tile,
    Tree,
    format_bundle,
    parse_bundle,
    parse_path,
    tiles_of,
    top,
)
from govern.errors import IntegrityError, SourceError

# testdata/log of transparency-dev/tessera (Apache-2.0), a log at each of its sizes up to 15, and its key as log.vkey.
TESSERA = Path(__file__).parents[2].parent / "shared" / "vectors" / "tlog" / "tessera"

MILLION = 1_000_000


def entry(index: int) -> bytes:
    return f"entry {index}".encode()


def leaf(index: int) -> bytes:
    return merkle.leaf_hash(entry(index))


def files(size: int) -> dict[str, bytes]:
    """The tiles and bundles of a tree, from the definition: each hash is a root over leaves, by merkle alone."""
    leaves = [leaf(index) for index in range(size)]
    frontier_root = {}

    def root(start: int, end: int) -> bytes:
        if (start, end) not in frontier_root:
            frontier = merkle.Frontier()
            for found in leaves[start:end]:
                frontier.append(found)
            frontier_root[start, end] = frontier.root()
        return frontier_root[start, end]

    found = {}
    for tile in tiles_of(size):
        step = WIDTH ** int(tile.kind)
        first = tile.index * WIDTH
        found[tile.path] = b"".join(
            root(place * step, (place + 1) * step) for place in range(first, first + tile.width)
        )
        if tile.kind == "0":
            entries = [entry(place) for place in range(first, first + tile.width)]
            found[Tile(ENTRIES, tile.index, tile.width).path] = format_bundle(entries)
    return found


def reading(found: dict[str, bytes]) -> Callable[[str, int], bytes | None]:
    return lambda path, _most: found.get(path)


@cache
def head(size: int) -> Checkpoint:
    frontier = merkle.Frontier()
    for index in range(size):
        frontier.append(leaf(index))
    return Checkpoint("log", size, frontier.root())


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile("0", 0), "tile/0/000"),
        (Tile("0", 0, 255), "tile/0/000.p/255"),
        (Tile("1", 0), "tile/1/000"),
        (Tile("15", 98_017), "tile/15/x098/017"),
        (Tile("6", 5_000_600_007, 41), "tile/6/x005/x000/x600/007.p/41"),
        (Tile("0", 1234067), "tile/0/x001/x234/067"),
        (Tile(ENTRIES, 0, 8), "tile/entries/000.p/8"),
        (Tile(ENTRIES, 255), "tile/entries/255"),
        (Tile(ENTRIES, 999_999_999), "tile/entries/x999/x999/999"),
        (Tile(LARGE_ENTRIES, 1000, 1), "tile/large-entries/x001/000.p/1"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/01/000", "tile/0/x000/001", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/300", "tile/0/000.p/01", "tile/0/001/002", "tile/100/000", "tile/-1/000",
        "tile/0/x001", "tile/0/../000", "tile/0/000/", "tile/0/000\n", "tile/0/٠٠٠", "tile/bundles/000", "/tile/0/000",
        "tile/0/" + "x999/" * 6 + "999", "tile/entries/000.p/", "",
    ],
)  # fmt: skip
def test_every_tile_has_one_name(path: str) -> None:
    assert parse_path(path) is None


@given(st.text("tile/0129xp.entrislag-", max_size=30) | st.binary(max_size=30).map(lambda data: data.decode("latin-1")))
def test_what_is_read_as_a_path_is_written_as_it(text: str) -> None:
    tile = parse_path(text)
    assert tile is None or tile.path == text


def test_the_specification_s_example_of_70_000() -> None:
    tiles = list(tiles_of(70_000))
    assert [sum(tile.kind == level for tile in tiles) for level in "012"] == [274, 2, 1]
    assert [tile for tile in tiles if tile.width < WIDTH] == [Tile("0", 273, 112), Tile("1", 1, 17), Tile("2", 0, 1)]
    assert list(tiles_of(256)) == [Tile("0", 0), Tile("1", 0, 1)]
    assert list(tiles_of(0)) == []


SIZES = st.integers(1, 600)
FILES = {size: files(size) for size in (1, 255, 256, 257, 511, 512, 600)}


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_proofs_from_tiles_are_those_of_the_tree(size: int, data: st.DataObject) -> None:
    frontier, nodes = merkle.Frontier(), {}
    for index in range(size):
        nodes[0, index] = leaf(index)
        for level, found in enumerate(frontier.append(leaf(index)), 1):
            nodes[level, index >> level] = found
    tree = Tree(reading(FILES[size]), size)
    checkpoint = Checkpoint("log", size, frontier.root())
    tree.check(checkpoint)
    assert all(tree.node(*place) == found for place, found in nodes.items())
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert tree.prove(index) == merkle.inclusion_proof(index, size, lambda *place: nodes[place])
    merkle.verify_inclusion(leaf(index), index, size, tree.prove(index), checkpoint.root)
    tree.check_growth(head(old), checkpoint)
    assert list(tree.entries(old, checkpoint.root)) == [entry(place) for place in range(old, size)]


@settings(deadline=None, max_examples=30)
@given(SIZES, SIZES)
def test_tiles_that_grew_are_those_written_at_once(first: int, second: int) -> None:
    first, second = sorted((first, second))
    names = {tile.path for tile in tiles_of(first)} | {tile.path for tile in tiles_of(second, first)}
    grown, whole = {tile.path for tile in tiles_of(first) if tile.width == WIDTH}, {t.path for t in tiles_of(second)}
    # What was full stays, and with what came since there is nothing missing and nothing too much.
    assert grown <= whole <= names
    assert {tile.path for tile in tiles_of(second, first)} == whole - grown


def test_a_part_may_be_gone_once_the_whole_is_there() -> None:
    found = {**FILES[512], "tile/1/000.p/1": FILES[512]["tile/1/000.p/2"][:32]}
    assert "tile/0/001.p/44" not in found
    tree = Tree(reading(found), 300)
    tree.check(head(300))
    assert list(tree.entries(290, head(300).root)) == [entry(index) for index in range(290, 300)]


def test_a_fork_and_a_log_that_went_back_are_told() -> None:
    tree = Tree(reading(FILES[600]), 600)
    forked = Checkpoint("log", 300, bytes(32))
    with pytest.raises(IntegrityError, match="rewritten"):
        tree.check_growth(forked, head(600))
    with pytest.raises(IntegrityError, match="different roots"):
        tree.check_growth(Checkpoint("log", 600, bytes(32)), head(600))
    with pytest.raises(IntegrityError, match="went back to 600 events, from 601"):
        tree.check_growth(Checkpoint("log", 601, bytes(32)), head(600))


@settings(deadline=None)
@given(st.data())
def test_no_changed_tile_or_bundle_is_believed(data: st.DataObject) -> None:
    """Every byte of what a reader of everything is given counts."""
    found = dict(FILES[257])
    path = data.draw(st.sampled_from(sorted(found)))
    place, bit = data.draw(st.integers(0, len(found[path]) - 1)), 1 << data.draw(st.integers(0, 7))
    changed = bytearray(found[path])
    changed[place] ^= bit
    found[path] = data.draw(st.sampled_from([bytes(changed), found[path][:place], found[path] + b"x"]))
    with pytest.raises(IntegrityError):
        believe(Tree(reading(found), 257), head(257))


def believe(tree: Tree, checkpoint: Checkpoint) -> None:
    """Take in every byte that a log of 257 hands out."""
    tree.check(checkpoint)
    list(tree.entries(0, checkpoint.root))
    for index in (0, 1):  # their proofs take in every leaf between them
        merkle.verify_inclusion(leaf(index), index, 257, tree.prove(index), checkpoint.root)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SourceError, match="which its checkpoint is over") as refused:
        Tree(reading({}), 1000).check(head(1))
    assert refused.value.where is not None
    assert refused.value.where.startswith("tile/")
    with pytest.raises(SourceError) as refused:
        list(Tree(reading({}), 1).entries(0, bytes(32)))
    assert refused.value.where == "tile/entries/000.p/1"


def test_events_beyond_64_kib_stand_in_bundles_of_our_own() -> None:
    entries = [b"small", b"x" * 65_536]
    with pytest.raises(OverflowError):
        format_bundle(entries)
    tile = Tile(LARGE_ENTRIES, 0, 2)
    data = format_bundle(entries, LARGE_ENTRIES)
    assert parse_bundle(tile, data) == entries
    root = merkle.node_hash(*map(merkle.leaf_hash, entries))
    assert list(Tree(reading({tile.path: data}), 2).entries(0, root)) == entries
    # Up to that, the specification's own form holds them.
    assert parse_bundle(Tile(ENTRIES, 0, 1), format_bundle([b"x" * 65_535])) == [b"x" * 65_535]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=9), st.sampled_from([ENTRIES, LARGE_ENTRIES]), st.data())
def test_a_bundle_is_whole_or_refused(entries: list[bytes], kind: str, data: st.DataObject) -> None:
    bundle = format_bundle(entries, kind)
    assert parse_bundle(Tile(kind, 0, len(entries)), bundle) == entries
    for wrong in (bundle[:-1], bundle + b"\0", bundle[: data.draw(st.integers(0, len(bundle) - 1))]):
        with pytest.raises(IntegrityError, match="does not hold"):
            parse_bundle(Tile(kind, 0, len(entries)), wrong)
    with pytest.raises(IntegrityError, match="does not hold"):
        parse_bundle(Tile(kind, 0, len(entries) + 1), bundle)


@pytest.mark.slow
def test_a_million_events_take_at_most_twenty_tiles() -> None:
    rows = [[hashlib.sha256(b"\x00%d" % index).digest() for index in range(MILLION)]]
    while len(rows[-1]) >= WIDTH:
        rows.append([top(rows[-1][first : first + WIDTH]) for first in range(0, len(rows[-1]) - WIDTH + 1, WIDTH)])

    def read(path: str, _most: int) -> bytes | None:
        counted.append(path)
        tile = parse_path(path)
        assert tile is not None
        row = rows[int(tile.kind)][tile.index * WIDTH : tile.index * WIDTH + tile.width]
        assert len(row) == tile.width
        return b"".join(row)

    counted: list[str] = []
    tree = Tree(read, MILLION)
    checkpoint = Checkpoint("log", MILLION, merkle.tree_root(MILLION, tree.node))
    worst = 0
    for index, old in ((0, 1), (MILLION - 1, 999_999), (524_287, 524_288), (123_456, 654_321), (700_001, 333_333)):
        older = Checkpoint("log", old, merkle.tree_root(old, tree.node))
        counted.clear()
        fresh = Tree(read, MILLION)
        fresh.check(checkpoint)
        fresh.check_growth(older, checkpoint)
        merkle.verify_inclusion(rows[0][index], index, MILLION, fresh.prove(index), checkpoint.root)
        assert len(set(counted)) == len(counted), "no tile is read twice"
        worst = max(worst, len(counted))
    assert worst == 7
    # What is found again is what a tree that was hashed leaf by leaf has.
    frontier = merkle.Frontier()
    for found in rows[0]:
        frontier.append(found)
    assert frontier.root() == checkpoint.root


@pytest.mark.skipif(not TESSERA.is_dir(), reason="the published vectors in ../shared are absent")
@pytest.mark.parametrize("number", range(1, 16))
def test_tessera_s_published_log_is_read(number: int) -> None:
    key = parse_vkey((TESSERA / "log.vkey").read_text().strip())

    def read(path: str, _most: int) -> bytes | None:
        return (TESSERA / path).read_bytes() if (TESSERA / path).is_file() else None

    older, newer = (
        open_checkpoint((TESSERA / f"checkpoint.{place}").read_bytes(), key) for place in (number - 1, number)
    )
    tree = Tree(read, newer.size)
    tree.check(newer)
    tree.check_growth(older, newer)
    entries = list(tree.entries(older.size, newer.root))
    assert len(entries) == newer.size - older.size
    for index, found in enumerate(entries, older.size):
        merkle.verify_inclusion(merkle.leaf_hash(found), index, newer.size, tree.prove(index), newer.root)
