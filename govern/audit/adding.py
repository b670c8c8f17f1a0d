"""Adding an event to a database: its row, the subtrees that it completes, and a look whether they are there."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from rfc8785 import CanonicalizationError
from sqlalchemy import Connection

from govern.audit import merkle
from govern.audit.body import NO_PREV, Stored, leaf_hash, parse_event
from govern.audit.postgres import Postgres
from govern.audit.schema import ADD_EVENT, ADD_NODE
from govern.audit.sqlite import Sqlite
from govern.audit.storage import Storage, changed
from govern.errors import UsageError
from govern.records import Event

_READ_BACK = "SELECT seq, prev, leaf, body, (SELECT count(*) FROM node WHERE size = ?) FROM event WHERE seq = ?"


def storage_of(database: Path | str) -> Storage:
    """The storage of a log in a SQLite file, given by its path, or in a PostgreSQL database, given by its URL.

    Raises UsageError for a URL that is malformed or holds a password.
    """
    return Sqlite(database) if isinstance(database, Path) else Postgres(database)


def create_log(database: Path | str) -> None:
    """Make a new log, where there is none: somebody else's stands. Raises GovernError."""
    storage = storage_of(database)
    with storage.guarded():
        if not storage.exists():
            storage.create(lambda connection: _begin(storage, connection))


def _begin(storage: Storage, connection: Connection) -> None:
    """Add the first event of a new log."""
    add_event(
        storage,
        connection,
        Event(
            origin=f"govern-log/{secrets.token_hex(16)}",
            seq=0,
            prev=NO_PREV,
            type="log.created",
            time=now(),
            actor=None,
            run=None,
            policy_digest=None,
            model_before=None,
            model_after=None,
            digests={},
            # For whoever reads this when there are others.
            parameters={"algorithms": {"body": "RFC 8785", "leaf": "SHA-256", "tree": "RFC 9162"}},
            seed=None,
            environment={},
        ),
        _no_node,
    )


def add_event(storage: Storage, connection: Connection, event: Event, node: merkle.Node) -> Stored:
    """Add an event, which the log must be ready for. `node` reads the tree as it is.

    Raises UsageError for a value that JSON cannot carry exactly, IntegrityError where the database keeps no such row.
    """
    try:
        body = event.canonical()
        # A float such as 2.0^53 is written as an integer that no reader may take for exact: what cannot be read back
        # must never be written.
        parse_event(body)
    except (CanonicalizationError, ValueError) as error:
        raise UsageError(f"an event cannot hold this value: {error}", where=event.type) from None
    stored = Stored(event=event, body=body, prev=event.prev, leaf=leaf_hash(body))
    top, level, rest = bytes.fromhex(stored.leaf), 0, event.seq
    storage.rows(connection, ADD_EVENT, *stored.row)
    while rest & 1:
        top = merkle.node_hash(node(level, rest - 1), top)
        level, rest = level + 1, rest >> 1
        storage.rows(connection, ADD_NODE, event.seq + 1, level, top)
    # A trigger or a view can take a row and keep none, and say nothing.
    if [tuple(row) for row in storage.rows(connection, _READ_BACK, event.seq + 1, event.seq)] != [(*stored.row, level)]:
        raise changed("the database took it and did not store it", f"{storage.where} event {event.seq}")
    return stored


def _no_node(level: int, index: int) -> bytes:
    raise AssertionError(f"the first event completes no subtree, yet ({level}, {index}) was asked for")


def now() -> str:
    """The time as events tell it: UTC, RFC 3339 with microseconds and `Z`."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
