"""The append-only log: events, each bound to all that came before it, and the Merkle tree over them.

The bytes of an event's body are stored as they were hashed and are never written again. Several processes may append
at once; a write transaction reads the head, checks it and adds the next event, so the log stays linear.

What this cannot show: whoever holds the database can cut events off its end, or write a whole new log. Only a signed
checkpoint kept elsewhere tells (RFC 9162 section 2.1.4).
"""

from __future__ import annotations

import secrets
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from rfc8785 import CanonicalizationError
from sqlalchemy import Connection, Engine, TextClause, text

from govern.audit import merkle
from govern.audit.body import NO_PREV, Stored, leaf_hash, parse_event, read_row
from govern.audit.checkpoint import Checkpoint
from govern.audit.inspection import Damage, Finding, Head, inspect
from govern.audit.postgres import Postgres
from govern.audit.schema import SCHEMA_VERSION
from govern.audit.sqlite import Sqlite
from govern.audit.storage import Storage, reading
from govern.digests import sha256_file
from govern.errors import GovernError, IntegrityError, UsageError
from govern.records import AuditPosition, Event, EventType

_READ_HEAD = text("SELECT seq, prev, leaf, body FROM event ORDER BY seq DESC LIMIT 1")
_READ_EVENTS = text("SELECT seq, prev, leaf, body FROM event WHERE seq > :after ORDER BY seq")
_READ_EVENT = text("SELECT seq, prev, leaf, body FROM event WHERE seq = :seq")
_READ_NODES = text("SELECT size, level, hash FROM node ORDER BY size, level")
_READ_LEAF = text("SELECT leaf FROM event WHERE seq = :seq")
_READ_NODE = text("SELECT hash FROM node WHERE size = :size AND level = :level")
_ADD_EVENT = text("INSERT INTO event (seq, prev, leaf, body) VALUES (:seq, :prev, :leaf, :body)")
_ADD_NODE = text("INSERT INTO node (size, level, hash) VALUES (:size, :level, :hash)")


class _Places:
    """Which of the first `size` events are of which run and which type: their numbers, eight bytes each.

    Built from bodies that were read and checked, and nowhere stored, so there is nothing that could be made to lie.
    """

    def __init__(self) -> None:
        self.size = 0
        self._seqs: dict[tuple[str, str | None], array[int]] = {}
        self._lock = threading.Lock()

    def add(self, event: Event) -> None:
        """Note an event; one that is known already changes nothing."""
        with self._lock:
            if event.seq >= self.size:
                for key in (("run", event.run), ("type", event.type)):
                    self._seqs.setdefault(key, array("q")).append(event.seq)
                self.size = event.seq + 1

    def of(self, run: str | None, type: EventType | None) -> list[int]:  # noqa: A002
        """The numbers of a run's events, or else of a type's, in order."""
        return list(self._seqs.get(("type", type) if run is None else ("run", run), ()))


@dataclass(frozen=True)
class Log:
    """An open log. Close it, or use it in a `with`."""

    _storage: Storage
    _engine: Engine
    _trust: Path | None = None
    _places: _Places = field(default_factory=_Places)

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
                raise UsageError(
                    "there is no audit log",
                    where=storage.where,
                    hint="Every command that changes something starts one: govern apply POLICY",
                )
            create_log(database)
        log = cls(storage, storage.connect(), trust)
        try:
            log._check_format()
        except BaseException:
            log.close()
            raise
        return log

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
        event does not check out: nothing is built on a damaged log. Raises UsageError for a value that JSON cannot
        carry exactly, such as a number above 2^53.
        """
        with self._storage.guarded(), self._engine.begin() as connection:
            row = connection.execute(_READ_HEAD).first()
            if row is None:
                self._refuse(Finding(0, "it is missing: the log is empty"))
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

    def event(self, seq: int) -> Stored:
        """One event. Raises UsageError where the log has none of that number, IntegrityError where it is damaged."""
        with self._storage.guarded(), reading(self._engine) as connection:
            row = connection.execute(_READ_EVENT, {"seq": seq}).first()
        if row is None:
            raise UsageError(f"the log has no event {seq}", where=self.where, hint="See: govern audit log")
        return self._read(row)

    def events(self, *, run: str | None = None, type: EventType | None = None) -> Iterator[Stored]:  # noqa: A002
        """Events in order, those of one run or one type where given.

        Each is checked against its own leaf, not against its neighbours: that is `verify`. Raises IntegrityError. The
        first call for a run or a type reads the whole log, those after it what they yield and what is new.
        """
        with self._storage.guarded(), reading(self._engine) as connection:
            if run is None and type is None:
                for row in _stream(connection, _READ_EVENTS, after=-1):
                    yield self._read(row)
                return
            for row in _stream(connection, _READ_EVENTS, after=self._places.size - 1):
                self._places.add(self._read(row).event)
            for seq in self._places.of(run, type):
                found = connection.execute(_READ_EVENT, {"seq": seq}).first()
                stored = self._refuse(Finding(seq, "it is missing")) if found is None else self._read(found)
                if run in (None, stored.event.run) and type in (None, stored.event.type):
                    yield stored

    def head(self) -> Stored | None:
        """The last event, or None where all are gone. Raises IntegrityError."""
        with self._storage.guarded(), reading(self._engine) as connection:
            row = connection.execute(_READ_HEAD).first()
        return None if row is None else self._read(row)

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
        with self._storage.guarded(), reading(self._engine) as connection:
            events, nodes = _stream(connection, _READ_EVENTS, after=-1), _stream(connection, _READ_NODES)
            yield inspect(events, nodes, self._places.add)

    def _head_of(self, connection: Connection) -> Stored:
        row = connection.execute(_READ_HEAD).first()
        return self._refuse(Finding(0, "it is missing: the log is empty")) if row is None else self._read(row)

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
            found = (
                connection.execute(_READ_NODE, {"size": size, "level": level})
                if level
                else connection.execute(_READ_LEAF, {"seq": index})
            ).scalar_one_or_none()
            if not isinstance(found, bytes) or len(found) != merkle.HASH_SIZE:
                self._refuse(Finding(size - 1, f"the stored tree over events {size - (1 << level)} to it is damaged"))
            return found

        return node

    def _read(self, row: Sequence[Any]) -> Stored:
        seq, prev, leaf, body = row
        try:
            return read_row(seq, prev, leaf, body)
        except ValueError as error:
            return self._refuse(Finding(seq, str(error)))

    def _refuse(self, finding: Finding) -> NoReturn:
        raise IntegrityError(
            finding.difference,
            where=f"{self.where} event {finding.seq}",
            hint="The log was changed or damaged. Keep the file as evidence and restore the log from a backup.",
        )

    def _check_format(self) -> None:
        with self._storage.guarded(), reading(self._engine) as connection:
            version = self._storage.version(connection)
        if version is None:
            raise IntegrityError("this is not an audit log", where=self.where, hint="Restore the log from a backup.")
        if version != SCHEMA_VERSION:
            raise GovernError(
                f"the audit log has schema version {version}; this govern reads version {SCHEMA_VERSION}",
                where=self.where,
                hint="Use the version of govern that wrote it, or a newer one.",
            )


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
            storage.create(_begin)


def _begin(connection: Connection) -> None:
    """Add the first event of a new log."""
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
            # For whoever reads this when there are others.
            parameters={"algorithms": {"body": "RFC 8785", "leaf": "SHA-256", "tree": "RFC 9162"}},
            seed=None,
            environment={},
        ),
        _no_node,
    )


def _store(connection: Connection, event: Event, node: Callable[[int, int], bytes]) -> Stored:
    try:
        body = event.canonical()
        # A float such as 2.0^53 is written as an integer that no reader may take for exact: what cannot be read back
        # must never be written.
        parse_event(body)
    except (CanonicalizationError, ValueError) as error:
        raise UsageError(f"an event cannot hold this value: {error}", where=event.type) from None
    leaf = leaf_hash(body)
    top, level, rest = bytes.fromhex(leaf), 0, event.seq
    completed: list[dict[str, Any]] = []
    while rest & 1:
        top = merkle.node_hash(node(level, rest - 1), top)
        level, rest = level + 1, rest >> 1
        completed.append({"size": event.seq + 1, "level": level, "hash": top})
    row = {"seq": event.seq, "prev": bytes.fromhex(event.prev), "leaf": bytes.fromhex(leaf), "body": body}
    connection.execute(_ADD_EVENT, row)
    if completed:
        connection.execute(_ADD_NODE, completed)
    return Stored(event=event, body=body, prev=event.prev, leaf=leaf)


def _no_node(level: int, index: int) -> bytes:
    raise AssertionError(f"the first event completes no subtree, yet ({level}, {index}) was asked for")


def _stream(connection: Connection, statement: TextClause, **parameters: int) -> Iterator[Sequence[Any]]:
    yield from connection.execute(statement, parameters, execution_options={"stream_results": True, "yield_per": 1000})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
