"""The tree: every published vector, and the laws that hold for all trees."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from govern.errors import IntegrityError

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "merkle" / "testdata"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the published vectors in ../shared are absent")


def vectors(kind):
    return [
        pytest.param(json.loads(path.read_text()), id=str(path.relative_to(VECTORS).with_suffix("")))
        for path in sorted((VECTORS / kind).rglob("*.json"))
    ]


def decoded(text):
    return base64.b64decode(text or "")


def outcome(check, *arguments):
    try:
        check(*arguments)
    except IntegrityError:
        return "error"
    return "fine"


@needs_vectors
@pytest.mark.parametrize("vector", vectors("inclusion"))
def test_published_inclusion_vectors(vector):
    proof = [decoded(text) for text in vector["proof"] or ()]
    leaf, root = decoded(vector["leafHash"]), decoded(vector["root"])
    found = outcome(verify_inclusion, leaf, vector["leafIdx"], vector["treeSize"], proof, root)
    assert found == ("error" if vector["wantErr"] else "fine"), vector["desc"]


@needs_vectors
@pytest.mark.parametrize("vector", vectors("consistency"))
def test_published_consistency_vectors(vector):
    proof = [decoded(text) for text in vector["proof"] or ()]
    first, second = decoded(vector["root1"]), decoded(vector["root2"])
    found = outcome(verify_consistency, vector["size1"], vector["size2"], first, second, proof)
    assert found == ("error" if vector["wantErr"] else "fine"), vector["desc"]


@needs_vectors
def test_there_are_as_many_vectors_as_we_think():
    assert (len(vectors("inclusion")), len(vectors("consistency"))) == (80, 77)


def definition(leaves):
    """MTH(D) as RFC 9162 section 2.1.1 writes it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(definition(leaves[:split]), definition(leaves[split:]))


def leaves_of(size):
    return [leaf_hash(b"%d" % number) for number in range(size)]


def reader(leaves):
    return lambda level, index: definition(leaves[index << level : (index + 1) << level])


def test_hashes_are_the_standards_own():
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"x") != node_hash(b"x", b"")
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(34))
def test_three_ways_to_a_root_agree(size):
    leaves = leaves_of(size)
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    assert frontier.root() == tree_root(size, reader(leaves)) == definition(leaves)


def test_a_frontier_gives_each_complete_subtree_once():
    leaves = leaves_of(21)
    frontier, found = Frontier(), {}
    for number, leaf in enumerate(leaves):
        for level, subtree in enumerate(frontier.append(leaf), 1):
            found[level, number >> level] = subtree
    expected = {
        (level, index): definition(leaves[index << level : (index + 1) << level])
        for level in range(1, 5)
        for index in range(21 >> level)
    }
    assert found == expected


@pytest.mark.parametrize("size", range(1, 20))
def test_every_leaf_is_proved_and_no_other(size):
    leaves = leaves_of(size)
    root = definition(leaves)
    for index in range(size):
        proof = inclusion_proof(index, size, reader(leaves))
        verify_inclusion(leaves[index], index, size, proof, root)
        for other in range(size):
            if other != index:
                with pytest.raises(IntegrityError):
                    verify_inclusion(leaves[index], other, size, proof, root)


@pytest.mark.parametrize("second", range(1, 20))
def test_every_prefix_is_proved(second):
    leaves = leaves_of(second)
    for first in range(1, second + 1):
        proof = consistency_proof(first, second, reader(leaves))
        verify_consistency(first, second, definition(leaves[:first]), definition(leaves), proof)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_rewritten_history_has_no_proof(data):
    size = data.draw(st.integers(2, 40))
    first = data.draw(st.integers(1, size - 1))
    leaves = leaves_of(size)
    rewritten = list(leaves)
    rewritten[data.draw(st.integers(0, first - 1))] = leaf_hash(b"another")
    proof = consistency_proof(first, size, reader(rewritten))
    with pytest.raises(IntegrityError):
        verify_consistency(first, size, definition(leaves[:first]), definition(rewritten), proof)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_proof_is_accepted(data):
    size = data.draw(st.integers(2, 40))
    leaves = leaves_of(size)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    inclusion = inclusion_proof(index, size, reader(leaves))
    consistency = consistency_proof(first, size, reader(leaves))
    for proof, check in (
        (inclusion, lambda proof: verify_inclusion(leaves[index], index, size, proof, definition(leaves))),
        (
            consistency,
            lambda proof: verify_consistency(first, size, definition(leaves[:first]), definition(leaves), proof),
        ),
    ):
        changed = list(proof)
        place = data.draw(st.integers(0, len(proof) - 1))
        kind = data.draw(st.sampled_from(["flip", "delete", "duplicate", "shorten", "lengthen", "swap"]))
        if kind == "flip":
            flipped = bytearray(proof[place])
            flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
            changed[place] = bytes(flipped)
        elif kind == "delete":
            del changed[place]
        elif kind == "duplicate":
            changed.insert(place, proof[place])
        elif kind == "shorten":
            changed[place] = proof[place][:-1]
        elif kind == "lengthen":
            changed[place] = proof[place] + b"\x00"
        else:
            changed.reverse()
        if changed != proof:
            with pytest.raises(IntegrityError):
                check(changed)


def test_a_boundary_between_two_hashes_cannot_be_moved():
    left, right = leaves_of(2)
    root = node_hash(left, right)
    verify_inclusion(left, 0, 2, [right], root)
    with pytest.raises(IntegrityError, match="32 bytes"):
        verify_inclusion(left + right[:1], 0, 2, [right[1:]], root)
    with pytest.raises(IntegrityError, match="32 bytes"):
        verify_inclusion(left[:-1], 0, 2, [left[-1:] + right], root)


@pytest.mark.parametrize(
    ("index", "size", "length", "text"),
    [
        (5, 5, 0, "there is no entry 5 in a tree of 5"),
        (-1, 5, 0, "there is no entry -1 in a tree of 5"),
        (0, 1, 1, "the inclusion proof is too long"),
        (0, 4, 1, "the inclusion proof is too short"),
        (0, 2, 1, "entry 0 is not in the tree with this root"),
    ],
)
def test_what_is_wrong_with_an_inclusion_proof_is_said(index, size, length, text):
    with pytest.raises(IntegrityError, match=f"^{text}$"):
        verify_inclusion(bytes(32), index, size, [bytes(32)] * length, bytes(32))


@pytest.mark.parametrize(
    ("first", "second", "length", "text"),
    [
        (0, 5, 0, "a tree of 0 cannot be shown to be a prefix of a tree of 5"),
        (6, 5, 0, "a tree of 6 cannot be shown to be a prefix of a tree of 5"),
        (5, 5, 1, "two trees of one size have different roots"),
        (3, 5, 0, "the consistency proof is too short"),
        (1, 8, 1, "the consistency proof is too short"),
        (1, 2, 2, "the consistency proof is too long"),
        (1, 2, 1, "the tree of 1 is not a prefix of the tree of 2: history was rewritten"),
    ],
)
def test_what_is_wrong_with_a_consistency_proof_is_said(first, second, length, text):
    with pytest.raises(IntegrityError, match=f"^{text}$"):
        verify_consistency(first, second, bytes(32), bytes(32), [bytes(32)] * length)
