"""What a log asks of the database that holds it. SQLite and PostgreSQL each have a module that answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from govern.audit.inspection import Damage
from govern.errors import GovernError, IntegrityError

BUSY_SECONDS = 60
"""How long a writer waits for another one."""


class Storage(Protocol):
    """One database that holds one log, or is to hold it: the tables `event` and `node`.

    A connection's transactions take the writers' lock when they begin, before anything is read; those of `reading` see
    one snapshot and stop nobody. A commit that returned is on the disk.
    """

    @property
    def where(self) -> str:
        """The file, or the URL, as it is named in errors. It holds no password."""

    def exists(self) -> bool:
        """Whether there is anything in the log's place, a log or not."""

    def create(self, fill: Callable[[Connection], None]) -> None:
        """Make the tables, let `fill` add the first event, and keep both or nothing.

        Where another process was faster, its log stands.
        """

    def connect(self) -> Engine:
        """An engine for a database that exists; nothing in it is changed by opening it."""

    def connect_to_read(self) -> Engine:
        """An engine that changes nothing at all, not even beside the database."""

    def rows(self, connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement with `?` for each of the values answers, by the driver itself: it is much the faster."""

    def stream(self, connection: Connection, statement: str, *values: object) -> Generator[tuple[Any, ...]]:
        """The same, row by row, for answers that are large."""

    def version(self, connection: Connection) -> int | None:
        """The schema version of the log, or None where this is no log."""

    def schema_damage(self, connection: Connection) -> Iterator[Damage]:
        """Each table, column, index or trigger that is not exactly as we make it."""

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """That, and before it what the database itself finds wrong with its files, which may take long."""

    def guarded(self) -> AbstractContextManager[None]:
        """Turn what the database and the file system say into errors with a remedy."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot of the log, which stops no writer."""
    with engine.connect().execution_options(reading=True) as connection, connection.begin():
        yield connection


def busy(where: str) -> GovernError:
    """Another process holds the writers' lock for too long."""
    return GovernError(
        f"the audit log stayed locked by another process for {BUSY_SECONDS} s",
        where=where,
        hint="Wait for the other process to end, or end it; then try again.",
    )


def changed(difference: str, where: str) -> IntegrityError:
    """Something in a log is not what it must be."""
    return IntegrityError(
        difference,
        where=where,
        hint="The log was changed or damaged. Keep the file as evidence and restore the log from a backup.",
    )


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[Damage]:
    """Each thing, by name, that is not what it must be."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield Damage(name, "it is missing")
        elif name not in expected:
            yield Damage(name, "it does not belong here")
        elif found[name] != expected[name]:
            yield Damage(name, "it was changed")
