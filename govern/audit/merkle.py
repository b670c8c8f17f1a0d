"""The Merkle tree over a log's events: roots, proofs and their verification.

RFC 9162 section 2.1, whose hashes are those of RFC 6962. Hashes are 32 bytes. A complete subtree of 2^level leaves is
named by its level and its index among the subtrees of that level, from the left; level 0 holds the leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from govern.errors import IntegrityError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""Reads the hash of the complete subtree (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry). Section 2.1.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right). Section 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The complete subtrees that a growing tree ends in, largest first: all that its root depends on."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    @classmethod
    def at(cls, size: int, node: Node) -> Frontier:
        """That of the first `size` leaves of a tree."""
        found = cls()
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                found._peaks.append(node(level, (size >> level) - 1))
        found.size = size
        return found

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf's hash. Returns the hashes of the subtrees that it completes: levels 1, 2, … upwards."""
        completed: list[bytes] = []
        top, rest = leaf, self.size
        while rest & 1:
            top = node_hash(self._peaks.pop(), top)
            completed.append(top)
            rest >>= 1
        self._peaks.append(top)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The tree's root. Section 2.1.1."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = node_hash(peak, root)
        return root


def tree_root(size: int, node: Node) -> bytes:
    """The root of the first `size` leaves."""
    return _subtree(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the first `size` leaves, from the bottom. Section 2.1.3.1.

    Needs 0 ≤ index < size.
    """
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_subtree(middle, end, node))
            end = middle
        else:
            proof.append(_subtree(start, middle, node))
            start = middle
    return proof[::-1]


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """The hashes that show the first `first` leaves to be a prefix of the first `second`. Section 2.1.4.1.

    Needs 0 < first ≤ second.
    """
    proof: list[bytes] = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_subtree(middle, end, node))
            end = middle
        else:
            proof.append(_subtree(start, middle, node))
            start = middle
    if start:
        proof.append(_subtree(start, end, node))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is the hash of entry `index` of the tree with `size` and `root`. Section 2.1.3.2.

    Raises IntegrityError.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"there is no entry {index} in a tree of {size}")
    _check_hashes([leaf, *proof])
    number, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError("the inclusion proof is too long")
        if number & 1 or number == last:
            found = node_hash(sibling, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        number, last = number >> 1, last >> 1
    if last:
        raise IntegrityError("the inclusion proof is too short")
    if found != root:
        raise IntegrityError(f"entry {index} is not in the tree with this root")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `first` leaves is a prefix of the tree of `second`. Section 2.1.4.2.

    Raises IntegrityError; an empty tree is a prefix of all others and proves nothing, so it is refused too.
    """
    if not 0 < first <= second:
        raise IntegrityError(f"a tree of {first} cannot be shown to be a prefix of a tree of {second}")
    _check_hashes(proof)
    if first == second:
        if proof or first_root != second_root:
            raise IntegrityError("two trees of one size have different roots")
        return
    # Where the first tree is one complete subtree, its root begins the proof and is left out of it.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not proof:
        raise IntegrityError("the consistency proof is too short")
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise IntegrityError("the consistency proof is too long")
        if number & 1 or number == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        number, last = number >> 1, last >> 1
    if last:
        raise IntegrityError("the consistency proof is too short")
    if (old, new) != (first_root, second_root):
        raise IntegrityError(f"the tree of {first} is not a prefix of the tree of {second}: history was rewritten")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    # Parents hash two children side by side, so a length that may vary would let two lists hash to one parent.
    if any(len(found) != HASH_SIZE for found in hashes):
        raise IntegrityError(f"a hash of the proof does not have {HASH_SIZE} bytes")


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(start: int, end: int, node: Node) -> bytes:
    """The root over leaves `start` to `end`, where `start` is a multiple of a power of two of at least that size."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(size)
    return node_hash(_subtree(start, middle, node), _subtree(middle, end, node))
