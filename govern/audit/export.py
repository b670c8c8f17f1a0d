"""A log as text, one event a line, so that it can be checked again without its database.

A line is the RFC 8785 form of {"body": base64 of the event's exact bytes, "format_version": 1, "leaf": hex of
SHA-256(0x00 ‖ body), "seq": number}.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator
from typing import BinaryIO

from govern import limits
from govern.audit.body import NO_PREV, Stored, read_row
from govern.audit.checkpoint import Checkpoint, decode_base64
from govern.audit.inspection import Head
from govern.audit.merkle import Frontier
from govern.digests import canonical_json
from govern.errors import IntegrityError

# An event's body in base64, and what stands around it.
_LINE_BYTES = limits.EVENT_BYTES * 4 // 3 + 1_000


def format_line(stored: Stored) -> bytes:
    """An event's line, with its end."""
    body = base64.b64encode(stored.body).decode()
    line = {"body": body, "format_version": 1, "leaf": stored.leaf, "seq": stored.event.seq}
    return canonical_json(line) + b"\n"


def read_export(stream: BinaryIO, *, against: Collection[Checkpoint] = ()) -> Head:
    """Recompute a log from its export, and hold it against checkpoints that were kept elsewhere.

    One pass, constant memory. Raises IntegrityError naming the first line that is not what it must be, or where the
    log does not go on from a checkpoint.
    """
    roots: dict[int, bytes | None] = {checkpoint.size: None for checkpoint in against}
    origin, leaf, frontier = "", NO_PREV, Frontier()
    for number, line in enumerate(_lines(stream)):
        try:
            stored = _read(line, number, leaf)
            if origin not in ("", stored.event.origin):
                raise ValueError("it comes from another log: its origin differs")
        except ValueError as error:
            raise IntegrityError(str(error), where=f"line {number + 1}") from None
        origin, leaf = stored.event.origin, stored.leaf
        frontier.append(bytes.fromhex(leaf))
        if frontier.size in roots:
            roots[frontier.size] = frontier.root()
    if frontier.size == 0:
        raise IntegrityError("it holds no events")
    for checkpoint in against:
        _hold(checkpoint, origin, frontier.size, roots[checkpoint.size])
    return Head(origin=origin, size=frontier.size, leaf=leaf, root=frontier.root().hex())


def _read(line: bytes, number: int, prev: str) -> Stored:
    """Check one line. Raises ValueError saying what differs."""
    try:
        value = json.loads(line)
        seq, leaf, body = value["seq"], bytes.fromhex(value["leaf"]), decode_base64(value["body"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IntegrityError):
        raise ValueError("this is not an event as govern exports it") from None
    if seq != number:
        raise ValueError(f"event {number} is missing or out of its order")
    stored = read_row(seq, bytes.fromhex(prev), leaf, body)
    if format_line(stored) != line:
        raise ValueError("this is not an event as govern exports it")
    if (number == 0) != (stored.event.type == "log.created"):
        raise ValueError("log.created must be the first event and no other")
    return stored


def _hold(checkpoint: Checkpoint, origin: str, size: int, root: bytes | None) -> None:
    if checkpoint.origin != origin:
        raise IntegrityError(f"the checkpoint is of another log, {checkpoint.origin}")
    if root is None:
        raise IntegrityError(f"events were cut off its end: the checkpoint knows {checkpoint.size}, it has {size}")
    if root != checkpoint.root:
        raise IntegrityError(f"history was rewritten: the checkpoint of {checkpoint.size} events has another root")


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(_LINE_BYTES):
        yield line
