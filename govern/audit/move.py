"""A log that its team outgrew: from SQLite to PostgreSQL, byte for byte, its origin, tree and checkpoints kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from govern.audit.adding import create_log
from govern.audit.inspection import Head
from govern.audit.log import Log
from govern.audit.postgres import Postgres
from govern.audit.schema import ADD_EVENT, ADD_NODE
from govern.audit.sqlite import Sqlite
from govern.audit.storage import Storage
from govern.errors import UsageError

_NEWEST = "SELECT max(seq) FROM event"
_LEAF = "SELECT leaf FROM event WHERE seq = ?"
_EVENTS = "SELECT seq, prev, leaf, body FROM event WHERE seq > ? ORDER BY seq"
_NODES = "SELECT size, level, hash FROM node WHERE size > ? + 1 ORDER BY size, level"


def move_log(database: Path, url: str) -> Head:
    """Copy the log in the SQLite file `database` to the PostgreSQL database at `url`, and seal the file.

    Where there is no file, a new log begins there. Writers wait until it is done; afterwards the file refuses every
    event and names the log's new place. Safe to repeat after it was interrupted. Raises IntegrityError where the log
    does not hold, UsageError where another log is there already, and GovernError for what a database refuses.
    """
    source, target = Sqlite(database), Postgres(url)
    if not database.exists():
        create_log(url)
        return _verified(url)
    _verified(database)
    with _writing(source) as ours:
        with target.guarded():
            if not target.exists():
                target.create(lambda theirs: _copy(source, ours, target, theirs, after=-1))
        _copy_rest(source, ours, target)
        head = _verified(url)
        source.seal(ours, url)
    return head


def _copy_rest(source: Storage, ours: Connection, target: Storage) -> None:
    """Add what an earlier, interrupted move has not copied. Raises UsageError where the other log is not the same."""
    with _writing(target) as theirs:
        both = ((source, ours), (target, theirs))
        sizes = [storage.rows(connection, _NEWEST)[0][0] for storage, connection in both]
        leaves = [storage.rows(connection, _LEAF, min(sizes)) for storage, connection in both]
        if leaves[0] != leaves[1]:
            raise UsageError(
                "another log is in this database already", where=target.where, hint="Name a database of its own."
            )
        _copy(source, ours, target, theirs, after=sizes[1])


def _copy(source: Storage, ours: Connection, target: Storage, theirs: Connection, *, after: int) -> None:
    """Copy the events behind event `after`, and the subtrees that they complete."""
    for read, add in ((_EVENTS, ADD_EVENT), (_NODES, ADD_NODE)):
        for row in source.stream(ours, read, after):
            target.rows(theirs, add, *row)


def _verified(database: Path | str) -> Head:
    with Log.open(database, create=False) as log:
        return log.verify()


@contextmanager
def _writing(storage: Storage) -> Iterator[Connection]:
    """A transaction that no other writer comes between."""
    engine = storage.connect()
    try:
        with storage.guarded(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
