"""SQLite as the log wants it: strict durability, one writer at a time, and errors with a remedy."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from govern.audit import storage
from govern.audit.inspection import Damage
from govern.audit.schema import APPLICATION_ID, create_schema
from govern.errors import GovernError, IntegrityError
from govern.workspace.atomic import sync_folder

_MOVED = "this log was moved to "


@dataclass(frozen=True)
class Sqlite:
    """A log in one SQLite file."""

    database: Path

    @property
    def where(self) -> str:
        """The file."""
        return str(self.database)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.database.exists()

    def create(self, fill: Callable[[Connection], None]) -> None:
        """Make the file under a temporary name, then link it in place: there is no half-made log."""
        database = self.database
        with tempfile.TemporaryDirectory(dir=database.parent, prefix=f".{database.name}.") as folder:
            fresh = Path(folder) / database.name
            fresh.touch()
            engine = Sqlite(fresh).connect()
            with engine.begin() as transaction:
                create_schema(transaction)
                fill(transaction)
            engine.dispose()
            with closing(sqlite3.connect(fresh)) as connection:
                # Kept in the file's header, so that opening somebody else's database changes nothing in it. Only now:
                # what were still in a write-ahead log beside the file would not be linked with it.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA journal_mode = WAL")
            try:
                os.link(fresh, database)
            except FileExistsError:
                return
            sync_folder(database.parent)

    def connect(self) -> Engine:
        """An engine for the existing file; nothing in it is changed by opening it."""
        # By URI, so that a missing file is an error and not an empty log.
        uri = f"{self.database.resolve().as_uri()}?mode=rw"

        def opened() -> sqlite3.Connection:
            # The driver's own transactions begin deferred; ours begin below.
            return sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=storage.BUSY_SECONDS, check_same_thread=False
            )

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

    def version(self, connection: Connection) -> int | None:
        """The file's user version, where its application id is a log's."""
        application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        version: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return version if application == APPLICATION_ID else None

    def seal(self, connection: Connection, target: str) -> None:
        """Refuse every append from now on, naming where the log went."""
        quoted = f"{_MOVED}{target}".replace("'", "''")
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS event_goes_elsewhere")
        # SQLite takes no parameters in a trigger.
        connection.exec_driver_sql(
            f"CREATE TRIGGER event_goes_elsewhere BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, '{quoted}'); END"
        )

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """What SQLite's own check says, and each table, column, index or trigger that is not what we make."""
        for (message,) in connection.exec_driver_sql("PRAGMA integrity_check").fetchall():
            if message != "ok":
                yield Damage("file", message)
        fresh = create_engine("sqlite://")
        try:
            with fresh.begin() as ideal:
                create_schema(ideal)
                found, expected = _schema(connection), _schema(ideal)
        finally:
            fresh.dispose()
        for name in sorted(expected.keys() | found.keys()):
            if name not in found:
                yield Damage(name, "it is missing")
            elif name not in expected:
                yield Damage(name, "it does not belong here")
            elif found[name] != expected[name]:
                yield Damage(name, "it was changed")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what SQLite and the file system say into errors with a remedy."""
        try:
            yield
        except DBAPIError as error:
            raise _translated(self.where, error.orig) from None
        except sqlite3.Error as error:
            raise _translated(self.where, error) from None
        except OSError as error:
            raise GovernError(f"the audit log cannot be written: {error.strerror}", where=self.where) from None


def _translated(where: str, error: BaseException | None) -> GovernError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return storage.busy(where)
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return GovernError(
            "the audit log cannot be opened for writing",
            where=where,
            hint="Give yourself write access to the file and its folder.",
        )
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return GovernError(
            f"the audit log cannot be written: {error}",
            where=where,
            hint="Make room on the disk, or repair it; events that were acknowledged are safe.",
        )
    if primary == sqlite3.SQLITE_CONSTRAINT and _MOVED in str(error):
        return GovernError(
            str(error),
            where=where,
            hint="Run the command again. Where it says the same, that move was cut short: repeat it.",
        )
    # The driver's message may quote a row, so only SQLite's own words for damage are repeated.
    known = primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT)
    return IntegrityError(
        f"the audit log is damaged: {error}" if known else "the audit log is damaged",
        where=where,
        hint="Keep the file as evidence and restore the log from a backup.",
    )


def _schema(connection: Connection) -> dict[str, str]:
    """What the tables promise, by name; their exact SQL depends on the version of the library that wrote it."""
    facts: dict[str, str] = {}
    for kind, name, sql in connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_schema").fetchall():
        if kind == "table":
            for _, column, *promise in connection.exec_driver_sql(f"PRAGMA table_info('{name}')").fetchall():
                facts[f"column {name}.{column}"] = str(promise)
            for _, index, unique, *_ in connection.exec_driver_sql(f"PRAGMA index_list('{name}')").fetchall():
                columns = connection.exec_driver_sql(f"PRAGMA index_info('{index}')").fetchall()
                facts[f"index {name}({', '.join(column for _, _, column in columns)})"] = str(unique)
        elif kind in ("trigger", "view"):
            facts[f"{kind} {name}"] = sql
    return facts
