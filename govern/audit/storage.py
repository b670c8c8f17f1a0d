"""SQLite as the log wants it: strict durability, one writer at a time, and errors with a remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from govern.errors import GovernError, IntegrityError

BUSY_SECONDS = 60


def connect(database: Path) -> Engine:
    """An engine for an existing database; nothing in the file is changed by opening it."""
    # By URI, so that a missing file is an error and not an empty log.
    uri = f"{database.resolve().as_uri()}?mode=rw"

    def opened() -> sqlite3.Connection:
        # The driver's own transactions begin deferred; ours begin below.
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)

    engine = create_engine("sqlite://", creator=opened, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        # Bytes that somebody made text are found by their type, with the event named, not by a failed decoding.
        connection.text_factory = lambda data: data.decode(errors="replace")
        for pragma in ("synchronous = FULL", "fullfsync = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock before it reads the head; a reader sees one snapshot and stops nobody.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN DEFERRED" if reading else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot of the log, which stops no writer."""
    with engine.connect().execution_options(reading=True) as connection:
        yield connection


@contextmanager
def guarded(database: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into errors with a remedy."""
    try:
        yield
    except DBAPIError as error:
        raise _translated(database, error.orig) from None
    except sqlite3.Error as error:
        raise _translated(database, error) from None
    except OSError as error:
        raise GovernError(f"the audit log cannot be written: {error.strerror}", where=str(database)) from None


def _translated(database: Path, error: BaseException | None) -> GovernError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return GovernError(
            f"the audit log stayed locked by another process for {BUSY_SECONDS} s",
            where=str(database),
            hint="Wait for the other process to end, or end it; then try again.",
        )
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return GovernError(
            "the audit log cannot be opened for writing",
            where=str(database),
            hint="Give yourself write access to the file and its folder.",
        )
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return GovernError(
            f"the audit log cannot be written: {error}",
            where=str(database),
            hint="Make room on the disk, or repair it; events that were acknowledged are safe.",
        )
    # The driver's message may quote a row, so only SQLite's own words for damage are repeated.
    known = primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT)
    return IntegrityError(
        f"the audit log is damaged: {error}" if known else "the audit log is damaged",
        where=str(database),
        hint="Keep the file as evidence and restore the log from a backup.",
    )
