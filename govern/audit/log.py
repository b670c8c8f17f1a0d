"""The append-only log: events, each bound to all that came before it, and the Merkle tree over them.

The bytes of an event's body are stored as they were hashed and are never written again. Several processes may append
at once; a write transaction reads the head, checks it and adds the next event, so the log stays linear.

What this cannot show: whoever holds the database can cut events off its end, or write a whole new log. Only a signed
checkpoint kept elsewhere tells (RFC 9162 section 2.1.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from sqlalchemy import Connection, Engine

from govern.audit import merkle
from govern.audit.adding import add_event, create_log, now, storage_of
from govern.audit.body import NO_PREV, Stored, read_row
from govern.audit.checkpoint import Checkpoint
from govern.audit.inspection import Damage, Finding, Head, inspect
from govern.audit.places import Places
from govern.audit.schema import SCHEMA_VERSION
from govern.audit.sqlite import Sqlite
from govern.audit.storage import Storage, changed, reading
from govern.digests import sha256_file
from govern.errors import GovernError, IntegrityError, UsageError
from govern.records import AuditPosition, Event, EventType

_READ_HEAD = "SELECT seq, prev, leaf, body FROM event ORDER BY seq DESC LIMIT 1"
_READ_EVENTS = "SELECT seq, prev, leaf, body FROM event ORDER BY seq"
_READ_LATER = "SELECT seq, prev, leaf, body FROM event WHERE seq >= ? ORDER BY seq"
_READ_EVENT = "SELECT seq, prev, leaf, body FROM event WHERE seq = ?"
_READ_NODES = "SELECT size, level, hash FROM node ORDER BY size, level"
_READ_LEAF = "SELECT leaf FROM event WHERE seq = ?"
_READ_NODE = "SELECT hash FROM node WHERE size = ? AND level = ?"


@dataclass
class _Newest:
    """The event that this process appended last, so that it is not read once more where it is still the newest."""

    stored: Stored | None = None


@dataclass(frozen=True)
class Log:
    """An open log. Close it, or use it in a `with`."""

    _storage: Storage
    _engine: Engine
    _trust: Path | None = None
    _reads: bool = False
    _places: Places = field(default_factory=Places)
    _newest: _Newest = field(default_factory=_Newest)

    @classmethod
    def read(cls, database: Path | str, *, checked: bool = True) -> Self:
        """Open a log to read it. Nothing is written, not even beside it: a read-only copy will do, or a full disk.

        `checked` off leaves the database's own schema to `damage`. Raises as `open` does.
        """
        storage = storage_of(database)
        if isinstance(storage, Sqlite) and not storage.exists():
            raise _none(storage)
        return cls(storage, storage.connect_to_read(), _reads=True)._usable(checked=checked)

    @classmethod
    def open(cls, database: Path | str, *, create: bool = True, trust: Path | None = None) -> Self:
        """Open the log in `database`: a SQLite file, by its path, or a PostgreSQL database, by its URL.

        A missing file becomes a new log, unless `create` is off; a database is made a log by `create_log` alone. Every
        event appended names the trust document that lies at `trust` at that moment, by its SHA-256.
        Raises UsageError where there is none, IntegrityError where it is no log or is damaged, and GovernError where it
        cannot be opened or was written by a newer version.
        """
        storage = storage_of(database)
        if isinstance(storage, Sqlite) and not storage.exists():
            if not create:
                raise _none(storage)
            create_log(database)
        return cls(storage, storage.connect(), trust)._usable()

    @property
    def where(self) -> str:
        """The file, or the URL, that holds the log."""
        return self._storage.where

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
        event does not check out: nothing is built on a damaged log; and where the database took the new one without
        having it afterwards. Raises UsageError for a value that JSON cannot carry exactly, such as a number above 2^53.
        """
        if self._reads:
            raise RuntimeError("this log was opened to be read")
        with self._storage.guarded(), self._engine.begin() as connection:
            head = self._head_of(connection)
            self._newest.stored = stored = add_event(
                self._storage,
                connection,
                Event(
                    origin=head.event.origin,
                    seq=head.event.seq + 1,
                    prev=head.leaf,
                    type=type,
                    time=now(),
                    actor=actor,
                    run=run,
                    trust=sha256_file(self._trust) if self._trust and self._trust.is_file() else None,
                    policy_digest=policy_digest,
                    model_before=model_before,
                    model_after=model_after,
                    digests=dict(digests or {}),
                    parameters=dict(parameters or {}),
                    seed=seed,
                    environment=dict(environment or {}),
                ),
                self._node_reader(connection),
            )
        return stored

    def event(self, seq: int) -> Stored:
        """One event. Raises UsageError where the log has none of that number, IntegrityError where it is damaged."""
        with self._storage.guarded(), reading(self._engine) as connection:
            rows = self._storage.rows(connection, _READ_EVENT, seq)
        if not rows:
            raise UsageError(f"the log has no event {seq}", where=self.where, hint="See: govern audit log")
        return self._read(rows[0])

    def events(self, *, run: str | None = None, type: EventType | None = None) -> Iterator[Stored]:  # noqa: A002
        """Events in order, those of one run or one type where given.

        Each is checked against its own leaf and the event before; the tree and the origin are left to `verify`. Raises
        IntegrityError. The first call for a run or a type reads the whole log, those after it what they yield and what
        is new.
        """
        with self._storage.guarded(), reading(self._engine) as connection:
            if run is None and type is None:
                yield from self._linked(self._storage.stream(connection, _READ_EVENTS), 0, NO_PREV)
                return
            size, leaf = self._places.size, self._places.leaf
            new = self._storage.stream(connection, _READ_LATER, size) if size else None
            for stored in self._linked(new or self._storage.stream(connection, _READ_EVENTS), size, leaf):
                self._places.add(stored)
            for seq in self._places.of(run, type):
                found = self._storage.rows(connection, _READ_EVENT, seq)
                stored = self._read(found[0]) if found else self._refuse(Finding(seq, "it is missing"))
                if run in (None, stored.event.run) and type in (None, stored.event.type):
                    yield stored

    def head(self) -> Stored | None:
        """The last event, or None where all are gone. Raises IntegrityError."""
        with self._storage.guarded(), reading(self._engine) as connection:
            rows = self._storage.rows(connection, _READ_HEAD)
        return self._read(rows[0]) if rows else None

    def position(self) -> AuditPosition:
        """Where the log stands: what something that is signed now can name. Raises IntegrityError for an empty log."""
        with self._storage.guarded(), reading(self._engine) as connection:
            head = self._head_of(connection)
        return AuditPosition(origin=head.event.origin, seq=head.event.seq, leaf=head.leaf)

    def verify(self, *, against: Checkpoint | None = None) -> Head:
        """Recompute the whole log from its bytes, and hold it against a checkpoint that was kept elsewhere.

        Raises IntegrityError naming the first event that differs, or where the log does not go on from the checkpoint.
        """
        with self._inspecting() as findings:
            try:
                self._refuse(next(findings))
            except StopIteration as end:
                head: Head = end.value
        if against:
            self.check_prefix(head.tree, against)
        return head

    def findings(self) -> Iterator[Finding]:
        """Everything that `verify` would stop at, for the one who has to repair it."""
        with self._inspecting() as findings:
            yield from findings

    def damage(self) -> Iterator[Damage]:
        """What is wrong with the database that holds the log, as far as it knows itself."""
        with self._storage.guarded(), reading(self._engine) as connection:
            yield from self._storage.damage(connection)

    def tree_head(self, size: int | None = None) -> Checkpoint:
        """The tree over the first `size` events, over all of them by default. Raises UsageError beyond the end."""
        with self._storage.guarded(), reading(self._engine) as connection:
            head = self._head_of(connection)
            size = self._within(head, head.event.seq + 1 if size is None else size)
            return Checkpoint(head.event.origin, size, merkle.tree_root(size, self._node_reader(connection)))

    def prove_inclusion(self, seq: int, size: int) -> list[bytes]:
        """The hashes that lead from event `seq` to the root over the first `size` events (RFC 9162 section 2.1.3).

        Raises UsageError where there are not as many.
        """
        with self._storage.guarded(), reading(self._engine) as connection:
            size = self._within(self._head_of(connection), size)
            if not 0 <= seq < size:
                raise UsageError(f"event {seq} is not among the first {size}", where=self.where)
            return merkle.inclusion_proof(seq, size, self._node_reader(connection))

    def prove_consistency(self, first: int, second: int) -> list[bytes]:
        """The hashes that show the log of `first` events to be a prefix of that of `second` (section 2.1.4).

        Raises UsageError where there are not as many.
        """
        with self._storage.guarded(), reading(self._engine) as connection:
            second = self._within(self._head_of(connection), second)
            if not 0 < first <= second:
                raise UsageError(f"a log of {first} is no prefix of one of {second}", where=self.where)
            return merkle.consistency_proof(first, second, self._node_reader(connection))

    def check_prefix(self, tree: Checkpoint, earlier: Checkpoint) -> None:
        """Check that this log's `tree` goes on from a checkpoint that was kept elsewhere. Raises IntegrityError."""
        where = self.where
        if earlier.origin != tree.origin:
            raise IntegrityError(f"the checkpoint is of another log, {earlier.origin}", where=where)
        if earlier.size > tree.size:
            raise IntegrityError(
                f"events were cut off the log's end: the checkpoint knows {earlier.size}, the log has {tree.size}",
                where=where,
                hint="Keep the file as evidence and restore the log from a backup.",
            )
        proof = self.prove_consistency(earlier.size, tree.size) if earlier.size else []
        try:
            merkle.verify_consistency(earlier.size, tree.size, earlier.root, tree.root, proof)
        except IntegrityError as error:
            raise IntegrityError(
                error.message, where=where, hint="The log is not the one that the checkpoint was made of."
            ) from None

    @contextmanager
    def _inspecting(self) -> Iterator[Iterator[Finding]]:
        with (
            self._storage.guarded(),
            reading(self._engine) as connection,
            closing(self._storage.stream(connection, _READ_EVENTS)) as events,
            closing(self._storage.stream(connection, _READ_NODES)) as nodes,
        ):
            yield inspect(events, nodes, self._places.add)

    def _linked(self, rows: Iterator[Sequence[Any]], seq: int, prev: str) -> Iterator[Stored]:
        """The events of rows that must begin with number `seq`, behind the event with the leaf `prev`."""
        for row in rows:
            if row[0] != seq:
                self._refuse(
                    Finding(min(seq, row[0]), f"it is missing, or does not belong here: {row[0]} is not {seq}")
                )
            stored = self._read(row)
            if stored.prev != prev:
                self._refuse(Finding(seq, "its prev is not the leaf of the event before"))
            seq, prev = seq + 1, stored.leaf
            yield stored

    def _head_of(self, connection: Connection) -> Stored:
        rows = self._storage.rows(connection, _READ_HEAD)
        if not rows:
            self._refuse(Finding(0, "it is missing: the log is empty"))
        newest = self._newest.stored
        return newest if newest and tuple(rows[0]) == newest.row else self._read(rows[0])

    def _within(self, head: Stored, size: int) -> int:
        if not 0 <= size <= head.event.seq + 1:
            raise UsageError(
                f"the log has {head.event.seq + 1} events, not {size}",
                where=self.where,
                hint="Where a checkpoint speaks of more, events were cut off the log's end.",
            )
        return size

    def _node_reader(self, connection: Connection) -> merkle.Node:
        def node(level: int, index: int) -> bytes:
            size = (index + 1) << level
            rows = (
                self._storage.rows(connection, _READ_NODE, size, level)
                if level
                else self._storage.rows(connection, _READ_LEAF, index)
            )
            if not rows or not isinstance(rows[0][0], bytes) or len(rows[0][0]) != merkle.HASH_SIZE:
                self._refuse(Finding(size - 1, f"the stored tree over events {size - (1 << level)} to it is damaged"))
            return rows[0][0]

        return node

    def _read(self, row: Sequence[Any]) -> Stored:
        seq, prev, leaf, body = row
        try:
            return read_row(seq, prev, leaf, body)
        except ValueError as error:
            return self._refuse(Finding(seq, str(error)))

    def _refuse(self, finding: Finding) -> NoReturn:
        raise changed(finding.difference, f"{self.where} event {finding.seq}")

    def _usable(self, *, checked: bool = True) -> Self:
        """This log, or closed again where it is none that we can use."""
        try:
            with self._storage.guarded(), reading(self._engine) as connection:
                self._check_version(self._storage.version(connection))
                for damage in self._storage.schema_damage(connection) if checked else ():
                    raise changed(f"the audit log is damaged: {damage.where}: {damage.what}", self.where)
        except BaseException:
            self.close()
            raise
        return self

    def _check_version(self, version: int | None) -> None:
        if version is None:
            raise IntegrityError("this is not an audit log", where=self.where, hint="Restore the log from a backup.")
        if version != SCHEMA_VERSION:
            raise GovernError(
                f"the audit log has schema version {version}; this govern reads version {SCHEMA_VERSION}",
                where=self.where,
                hint="Use the version of govern that wrote it, or a newer one.",
            )


def _none(storage: Storage) -> UsageError:
    return UsageError(
        "there is no audit log",
        where=storage.where,
        hint="Every command that changes something starts one: govern apply POLICY",
    )
