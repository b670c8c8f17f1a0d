"""Everything that is wrong with a log, for the one who has to repair it. `verify` stops at the first finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine

from govern.audit import storage
from govern.audit.log import Log
from govern.audit.schema import create_schema
from govern.errors import IntegrityError


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: where (an event, a trigger, the file) and how."""

    where: str
    what: str


def fsck(database: Path) -> Iterator[Damage]:
    """Look at a log's file, its tables and triggers, and every event.

    Raises UsageError where there is no log and GovernError where it cannot be read; damage is yielded, not raised.
    """
    try:
        with Log.open(database, create=False) as log:
            yield from _file(database)
            for finding in log.findings():
                yield Damage(f"event {finding.seq}", finding.difference)
    except IntegrityError as error:
        # SQLite cannot read on from here.
        yield Damage("file", error.message)


def _file(database: Path) -> Iterator[Damage]:
    engine, fresh = storage.connect(database), create_engine("sqlite://")
    try:
        with storage.guarded(database), storage.reading(engine) as connection, fresh.begin() as ideal:
            for (message,) in connection.exec_driver_sql("PRAGMA integrity_check").fetchall():
                if message != "ok":
                    yield Damage("file", message)
            create_schema(ideal)
            found, expected = _schema(connection), _schema(ideal)
            for name in sorted(expected.keys() | found.keys()):
                if name not in found:
                    yield Damage(name, "it is missing")
                elif name not in expected:
                    yield Damage(name, "it does not belong here")
                elif found[name] != expected[name]:
                    yield Damage(name, "it was changed")
    finally:
        engine.dispose()
        fresh.dispose()


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
