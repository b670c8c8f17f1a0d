"""SQLite as the log wants it: strict durability, one writer at a time, and errors with a remedy."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from govern.audit import storage
from govern.audit.inspection import Damage
from govern.audit.schema import APPLICATION_ID, create_schema
from govern.errors import GovernError, IntegrityError
from govern.workspace.atomic import sync_folder

_MOVED = "this log was moved to "
_SEAL = "event_goes_elsewhere"

_MOST_IN_MEMORY: Final = 256 << 20
_TRIES: Final = 50


@dataclass(frozen=True)
class _State:
    """What shows that a log's files were written: of the file, and of a write-ahead log that holds anything."""

    size: int
    file: tuple[int, int]
    pending: tuple[int, int, int] | None


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
        database.parent.mkdir(parents=True, exist_ok=True)
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
        return self._engine(lambda: _opened(self.database, "rw"))

    def connect_to_read(self) -> Engine:
        """An engine for the log as it is, in memory: SQLite would leave files beside one that it only reads."""
        engine = self._engine(self._snapshot)

        @event.listens_for(engine, "checkout")
        def renew(_connection: sqlite3.Connection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
            if entry.info.setdefault("state", self._state()) != self._state():
                raise DisconnectionError

        return engine

    def _snapshot(self) -> sqlite3.Connection:
        """The whole log in memory, read while nobody wrote; or the file itself, where it is large or never at rest."""
        for _ in range(_TRIES):
            before = self._state()
            if before.size > _MOST_IN_MEMORY:
                break
            # A write-ahead log may be gone again, or half written.
            with suppress(sqlite3.OperationalError, FileNotFoundError):
                connection = _copied(self.database) if before.pending else _loaded(self.database.read_bytes())
                if self._state() == before:
                    return connection
                connection.close()
            time.sleep(0.01)
        try:
            return _opened(self.database, "ro")
        except sqlite3.OperationalError:
            return _opened(self.database, "ro&immutable=1")

    def _state(self) -> _State:
        file = self.database.stat()
        try:
            waiting = Path(f"{self.database}-wal").stat()
        except FileNotFoundError:
            waiting = None
        return _State(
            size=file.st_size,
            file=(file.st_ino, file.st_mtime_ns),
            pending=(waiting.st_ino, waiting.st_size, waiting.st_mtime_ns) if waiting and waiting.st_size else None,
        )

    def _engine(self, opened: Callable[[], sqlite3.Connection]) -> Engine:
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

    def rows(self, connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement answers. The driver keeps statements prepared."""
        return _driver(connection).execute(statement, values).fetchall()

    def stream(self, connection: Connection, statement: str, *values: object) -> Generator[tuple[Any, ...]]:
        """The same, row by row."""
        # Row by row, since a cursor cannot be closed once its database is, as after an error.
        for row in _driver(connection).execute(statement, values):  # noqa: UP028
            yield row

    def version(self, connection: Connection) -> int | None:
        """The file's user version, where its application id is a log's."""
        application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        version: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return version if application == APPLICATION_ID else None

    def seal(self, connection: Connection, target: str) -> None:
        """Refuse every append from now on, naming where the log went."""
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {_SEAL}")
        # SQLite takes no parameters in a trigger.
        connection.exec_driver_sql(_seal(target.replace("'", "''")))

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """What SQLite's own check says, and `schema_damage`."""
        for (message,) in connection.exec_driver_sql("PRAGMA integrity_check").fetchall():
            if message != "ok":
                yield Damage("file", message)
        yield from self.schema_damage(connection)

    def schema_damage(self, connection: Connection) -> Iterator[Damage]:
        """Each table, column, index, view or trigger that is not what we make, to the letter."""
        found, expected = dict(_schema(connection)), _expected()
        seal = found.get(f"trigger {_SEAL}", "")
        if re.fullmatch(re.escape(_seal("@")).replace("@", "(?:[^']|'')*"), seal):
            del found[f"trigger {_SEAL}"]
        yield from storage.differences(found, expected)

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


def _opened(database: Path, mode: str) -> sqlite3.Connection:
    # By URI, so that a missing file is an error and not an empty log. The driver's own transactions begin deferred;
    # ours begin in the engine.
    connection = sqlite3.connect(
        f"{database.resolve().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=storage.BUSY_SECONDS,
        check_same_thread=False,
    )
    if mode != "rw":
        # A file that cannot be opened is only found when it is read.
        connection.execute("SELECT count(*) FROM sqlite_schema")
    return connection


def _loaded(data: bytes) -> sqlite3.Connection:
    """A database's bytes, opened. What the header says of a write-ahead log is changed: there is none in memory."""
    connection = _memory()
    if data[18:20] == b"\2\2":
        data = data[:18] + b"\1\1" + data[20:]
    if data:
        connection.deserialize(data)
    return connection


def _copied(database: Path) -> sqlite3.Connection:
    """A database and its write-ahead log, opened as a copy, which is where SQLite leaves files."""
    connection = _memory()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "audit.db"
        for ending in ("", "-wal"):
            shutil.copyfile(f"{database}{ending}", f"{copy}{ending}")
        with closing(sqlite3.connect(copy)) as source:
            source.backup(connection)
    return connection


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    found: sqlite3.Connection = driver
    return found


def _seal(target: str) -> str:
    return f"CREATE TRIGGER {_SEAL} BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, '{_MOVED}{target}'); END"


@cache
def _expected() -> dict[str, str]:
    """What the tables of a new log promise."""
    fresh = create_engine("sqlite://")
    try:
        with fresh.begin() as ideal:
            create_schema(ideal)
            return dict(_schema(ideal))
    finally:
        fresh.dispose()


def _schema(connection: Connection) -> Iterator[tuple[str, str]]:
    """What the tables promise, by name: by column and index to name what differs, and each object's very text."""
    for kind, name, sql in _driver(connection).execute("SELECT type, name, sql FROM sqlite_schema").fetchall():
        # SQLite's own statistics, where somebody had them made.
        if str(name).startswith("sqlite_stat"):
            continue
        if kind == "table":
            quoted = str(name).replace("'", "''")
            for _, column, *promise in _driver(connection).execute(f"PRAGMA table_xinfo('{quoted}')").fetchall():
                yield f"column {name}.{column}", str(promise)
            for _, index, unique, *_ in _driver(connection).execute(f"PRAGMA index_list('{quoted}')").fetchall():
                inside = str(index).replace("'", "''")
                columns = _driver(connection).execute(f"PRAGMA index_info('{inside}')").fetchall()
                yield f"index {name}({', '.join(str(column) for _, _, column in columns)})", str(unique)
        # Its spaces depend on the version of the library that wrote it.
        yield f"{kind} {name}", " ".join(str(sql).split())
