"""The append-only log: events on SQLite, each bound to all that came before it.

The bytes of an event's body are stored as they were hashed and are never written again. Several processes may append
at once; a write transaction reads the head, checks it and adds the next event, so the log stays linear.

What this cannot show: whoever holds the database can cut events off its end, or write a whole new log. Only a signed
checkpoint kept elsewhere tells (RFC 9162 section 2.1.4).
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from rfc8785 import CanonicalizationError
from sqlalchemy import Connection, Engine, create_engine, event, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from govern.audit.body import NO_PREV, Stored, leaf_hash, parse_event, read_row
from govern.audit.schema import APPLICATION_ID, SCHEMA_VERSION, TRIGGERS, EventRow
from govern.errors import GovernError, IntegrityError, UsageError
from govern.records import Event, EventType
from govern.workspace.atomic import sync_folder

_BUSY_SECONDS = 60
_READ_HEAD = text("SELECT seq, prev, leaf, body FROM event ORDER BY seq DESC LIMIT 1")
_READ_ALL = text("SELECT seq, prev, leaf, body FROM event ORDER BY seq")


@dataclass(frozen=True)
class Head:
    """A log that checked out: its random origin, its number of events and its last leaf (hex)."""

    origin: str
    size: int
    leaf: str


@dataclass(frozen=True)
class Log:
    """An open log. Close it, or use it in a `with`."""

    database: Path
    _engine: Engine

    @classmethod
    def open(cls, database: Path, *, create: bool = True) -> Self:
        """Open the log in `database`; where the file is missing, make one, unless `create` is off.

        Raises UsageError where there is none, IntegrityError where the file is no log or is damaged, and GovernError
        where it cannot be opened or was written by a newer version.
        """
        if not database.exists():
            if not create:
                raise UsageError(
                    "there is no audit log",
                    where=str(database),
                    hint="Every command that changes something starts one: govern apply POLICY",
                )
            _create(database)
        log = cls(database, _engine(database))
        try:
            log._check_format()
        except BaseException:
            log.close()
            raise
        return log

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(
        self,
        type: EventType,  # noqa: A002  the field's name in the event
        *,
        actor: str | None = None,
        run: str | None = None,
        policy_digest: str | None = None,
        model_before: str | None = None,
        model_after: str | None = None,
        digests: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Add one event; once this returns, the event is on the disk.

        `actor` is a key's fingerprint; the other fields are those of `Event`. Raises IntegrityError where the last
        event does not check out: nothing is built on a damaged log. Raises UsageError for a value that JSON cannot
        carry exactly, such as a number above 2^53.
        """
        with self._guarded(), self._engine.begin() as connection:
            row = connection.execute(_READ_HEAD).first()
            if row is None:
                self._refuse(0, "it is missing: the log is empty")
            head = self._read(row)
            return _store(
                connection,
                Event(
                    origin=head.event.origin,
                    seq=head.event.seq + 1,
                    prev=head.leaf,
                    type=type,
                    time=_now(),
                    actor=actor,
                    run=run,
                    policy_digest=policy_digest,
                    model_before=model_before,
                    model_after=model_after,
                    digests=dict(digests or {}),
                    parameters=dict(parameters or {}),
                    seed=seed,
                    environment=dict(environment or {}),
                ),
            )

    def events(self, *, run: str | None = None, type: EventType | None = None) -> Iterator[Stored]:  # noqa: A002
        """Events in order, those of one run or one type where given.

        Each is checked against its own leaf, not against its neighbours: that is `verify`. Raises IntegrityError.
        """
        for row in self._rows():
            stored = self._read(row)
            if run in (None, stored.event.run) and type in (None, stored.event.type):
                yield stored

    def head(self) -> Stored | None:
        """The last event, or None where all are gone. Raises IntegrityError."""
        with self._guarded(), self._reading() as connection:
            row = connection.execute(_READ_HEAD).first()
        return None if row is None else self._read(row)

    def verify(self) -> Head:
        """Recompute the whole log from its bytes, in one pass and constant memory.

        Every body must be the RFC 8785 form of a known event; its leaf, `prev` and `seq` must equal the columns beside
        it; numbers must be dense from 0, each `prev` the leaf before, the first event `log.created`, and the origin
        one. Time is not judged: clocks step back. Raises IntegrityError naming the first event that differs.
        """
        size, leaf, origin = 0, NO_PREV, None
        for row in self._rows():
            stored = self._read(row, expected=size)
            found = stored.event
            if found.seq != size:
                self._refuse(size, f"it is missing: the next event is {found.seq}")
            if stored.prev != leaf:
                self._refuse(size, "its prev is not the leaf of the event before")
            if (size == 0) != (found.type == "log.created"):
                self._refuse(size, "log.created must be the first event and no other")
            if origin not in (None, found.origin):
                self._refuse(size, "it comes from another log: its origin differs")
            size, leaf, origin = size + 1, stored.leaf, found.origin
        if origin is None:
            self._refuse(0, "it is missing: the log is empty")
        return Head(origin=origin, size=size, leaf=leaf)

    def _rows(self) -> Iterator[Sequence[Any]]:
        with self._guarded(), self._reading() as connection:
            yield from connection.execution_options(stream_results=True, yield_per=1000).execute(_READ_ALL)

    def _read(self, row: Sequence[Any], *, expected: int | None = None) -> Stored:
        seq, prev, leaf, body = row
        try:
            return read_row(seq, prev, leaf, body)
        except ValueError as error:
            return self._refuse(seq if expected is None else expected, str(error))

    def _refuse(self, seq: int, difference: str) -> NoReturn:
        raise IntegrityError(
            difference,
            where=f"{self.database} event {seq}",
            hint="The log was changed or damaged. Keep the file as evidence and restore the log from a backup.",
        )

    def _check_format(self) -> None:
        with self._guarded(), self._reading() as connection:
            application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if application != APPLICATION_ID:
            raise IntegrityError(
                "this is not an audit log", where=str(self.database), hint="Restore the log from a backup."
            )
        if version != SCHEMA_VERSION:
            raise GovernError(
                f"the audit log has schema version {version}; this govern reads version {SCHEMA_VERSION}",
                where=str(self.database),
                hint="Use the version of govern that wrote it, or a newer one.",
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(reading=True) as connection:
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with _guarded(self.database):
            yield


def _create(database: Path) -> None:
    """Make a log with its first event under a temporary name, then link it in place: there is no half-made log.

    Where another process was faster, its log stands.
    """
    with _guarded(database), tempfile.TemporaryDirectory(dir=database.parent, prefix=f".{database.name}.") as folder:
        fresh = Path(folder) / database.name
        engine = _engine(fresh)
        with closing(sqlite3.connect(fresh)) as connection:
            # Kept in the file's header, so that opening somebody else's database changes nothing in it.
            connection.execute("PRAGMA journal_mode = WAL")
        with engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            EventRow.metadata.tables["event"].create(connection)
            for trigger in TRIGGERS:
                connection.exec_driver_sql(trigger)
            _store(
                connection,
                Event(
                    origin=f"govern-log/{secrets.token_hex(16)}",
                    seq=0,
                    prev=NO_PREV,
                    type="log.created",
                    time=_now(),
                    actor=None,
                    run=None,
                    policy_digest=None,
                    model_before=None,
                    model_after=None,
                    digests={},
                    parameters={},
                    seed=None,
                    environment={},
                ),
            )
        engine.dispose()
        try:
            os.link(fresh, database)
        except FileExistsError:
            return
        sync_folder(database.parent)


def _store(connection: Connection, body: Event) -> Stored:
    try:
        data = body.canonical()
        # A float such as 2.0^53 is written as an integer that no reader may take for exact: what cannot be read back
        # must never be written.
        parse_event(data)
    except (CanonicalizationError, ValueError) as error:
        raise UsageError(f"an event cannot hold this value: {error}", where=body.type) from None
    stored = Stored(event=body, body=data, prev=body.prev, leaf=leaf_hash(data))
    connection.execute(
        insert(EventRow).values(
            seq=body.seq, prev=bytes.fromhex(stored.prev), leaf=bytes.fromhex(stored.leaf), body=data
        )
    )
    return stored


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _engine(database: Path) -> Engine:
    # Opened by URI and never made here: a missing file is an error, not an empty log.
    mode = "rw" if database.exists() else "rwc"
    uri = f"{database.resolve().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # The driver's own transactions begin deferred; ours begin below.
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

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
def _guarded(database: Path) -> Iterator[None]:
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
            f"the audit log stayed locked by another process for {_BUSY_SECONDS} s",
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
