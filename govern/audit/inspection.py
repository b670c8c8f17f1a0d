"""Recomputing a log from its bytes, in one pass and constant memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from govern.audit.body import NO_PREV, Stored, read_row
from govern.audit.checkpoint import Checkpoint
from govern.audit.merkle import Frontier


@dataclass(frozen=True)
class Head:
    """A log that checked out: its random origin, its number of events, its last leaf and its tree's root (hex)."""

    origin: str
    size: int
    leaf: str
    root: str

    @property
    def tree(self) -> Checkpoint:
        """The head as a checkpoint states it."""
        return Checkpoint(self.origin, self.size, bytes.fromhex(self.root))


@dataclass(frozen=True)
class Finding:
    """One event that is not what it must be, and how it differs. It never quotes a body."""

    seq: int
    difference: str


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a log: where (an event, a trigger, the file) and how."""

    where: str
    what: str


def inspect(
    events: Iterator[Sequence[Any]], nodes: Iterator[Sequence[Any]], note: Callable[[Stored], None]
) -> Generator[Finding, None, Head]:
    """Every finding in the rows (seq, prev, leaf, body) and (size, level, hash), in order; returns the log's head.

    `note` is told of every event that was read.

    Every body must be the RFC 8785 form of a known event; its leaf, `prev` and `seq` must equal the columns beside it;
    numbers must be dense from 0, each `prev` the leaf before, the first event `log.created`, the origin one, and the
    stored tree the events' own. Time is not judged: clocks step back.
    """
    origin, leaf, size, frontier = "", NO_PREV, 0, Frontier()
    sound = True
    for seq, prev, own, body in events:
        differences = []
        number = size
        try:
            stored = read_row(seq, prev, own, body)
        except ValueError as error:
            # The row's own number may be what was changed, so the one that had to come is named.
            differences.append(str(error))
            leaf = own.hex() if isinstance(own, bytes) else NO_PREV
        else:
            event = stored.event
            note(stored)
            if event.seq != size:
                yield Finding(size, f"it is missing: the next event is {event.seq}")
                sound, number = False, event.seq
            if stored.prev != leaf:
                differences.append("its prev is not the leaf of the event before")
            if (event.seq == 0) != (event.type == "log.created"):
                differences.append("log.created must be the first event and no other")
            if origin not in ("", event.origin):
                differences.append("it comes from another log: its origin differs")
            origin, leaf = origin or event.origin, stored.leaf
        size = number + 1
        sound = sound and not differences
        # Behind a finding the tree is another one, so only the events themselves are looked at.
        if sound and (difference := _compare(nodes, size, frontier.append(bytes.fromhex(leaf)))):
            differences.append(difference)
            sound = False
        for difference in differences:
            yield Finding(number, difference)
    if size == 0:
        yield Finding(0, "it is missing: the log is empty")
    elif sound and next(nodes, None) is not None:
        yield Finding(size, "it is missing: the stored tree goes on behind the last event")
    return Head(origin=origin, size=size, leaf=leaf, root=frontier.root().hex())


def _compare(nodes: Iterator[Sequence[Any]], size: int, completed: list[bytes]) -> str | None:
    for level, expected in enumerate(completed, 1):
        if tuple(next(nodes, ())) != (size, level, expected):
            return f"the stored tree over events {size - (1 << level)} to {size - 1} is not the events' own"
    return None
