"""Logs in both storages, and ways to do to them what govern never would."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection
from unguarded import unguarded

from govern.audit import Log
from govern.audit.adding import create_log
from govern.audit.postgres import _TRIGGERS, Postgres


class Logs(Protocol):
    """Where a test's log lies."""

    def new(self, folder: Path) -> Path | str:
        """A log with its first event, until the next test's."""

    def golden(self, folder: Path) -> Path | str:
        """A log with its first event, which stays."""

    def copy(self, golden: Path | str, folder: Path) -> Path | str:
        """The same log once more, to be damaged."""

    def connect(self, database: Path | str) -> AbstractContextManager[Any]:
        """A connection of somebody whose slips the triggers stop."""

    def unprotected(self, database: Path | str) -> AbstractContextManager[Any]:
        """A connection of somebody who turns the triggers off first, and on again."""


class SqliteLogs:
    """Each log is a file."""

    def new(self, folder: Path) -> Path:
        with Log.open(folder / "audit.db") as log:
            log.verify()
        return folder / "audit.db"

    golden = new

    def copy(self, golden: Path, folder: Path) -> Path:
        return shutil.copy(golden, folder / "audit.db")

    def connect(self, database: Path) -> AbstractContextManager[Any]:
        return closing(sqlite3.connect(database, isolation_level=None))

    def unprotected(self, database: Path) -> AbstractContextManager[Any]:
        return unguarded(database)


class PostgresLogs:
    """Each log is a database; a test's own is one that is emptied and filled again, since making one takes long."""

    def __init__(self, new_database: Callable[[], str]) -> None:
        self._new_database = new_database
        self._scratch = new_database()

    def new(self, folder: Path) -> str:
        self._empty()
        create_log(self._scratch)
        return self._scratch

    def golden(self, folder: Path) -> str:
        url = self._new_database()
        create_log(url)
        return url

    def copy(self, golden: str, folder: Path) -> str:
        with self.connect(golden) as connection:
            events = connection.execute("SELECT seq, prev, leaf, body FROM event ORDER BY seq").fetchall()
            nodes = connection.execute("SELECT size, level, hash FROM node").fetchall()

        def fill(connection: Connection) -> None:
            for event in events:
                connection.exec_driver_sql("INSERT INTO event VALUES (%s, %s, %s, %s)", event)
            for node in nodes:
                connection.exec_driver_sql("INSERT INTO node VALUES (%s, %s, %s)", node)

        self._empty()
        Postgres(self._scratch).create(fill)
        return self._scratch

    @contextmanager
    def connect(self, database: str) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("SET search_path = govern")
            yield _Spelled(connection)

    @contextmanager
    def unprotected(self, database: str) -> Iterator[Any]:
        with self.connect(database) as connection:
            for table in ("event", "node"):
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            yield connection
            for trigger in _TRIGGERS:
                connection.execute(f"ALTER TABLE {trigger.partition('_')[0]} ENABLE ALWAYS TRIGGER {trigger}")

    def _empty(self) -> None:
        with self.connect(self._scratch) as connection:
            connection.execute("DROP SCHEMA IF EXISTS govern CASCADE")


class _Spelled:
    """A connection that takes SQLite's spelling of parameters and of bytes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        statement = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", statement)
        return self._connection.execute(statement.replace("?", "%s"), parameters or None)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def logs(request: pytest.FixtureRequest) -> Logs:
    """Each storage in turn."""
    return SqliteLogs() if request.param == "sqlite" else PostgresLogs(request.getfixturevalue("new_postgres"))


@pytest.fixture(scope="session")
def sqlite_logs() -> SqliteLogs:
    """Logs in files."""
    return SqliteLogs()


@pytest.fixture(scope="module")
def postgres_logs(new_postgres: Callable[[], str]) -> PostgresLogs:
    """Logs in databases."""
    return PostgresLogs(new_postgres)


@pytest.fixture
def tiny_disk() -> Iterator[Callable[[str], Path]]:
    """A function that mounts an empty file system of some size, where other users can reach it."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="govern-disk-"))
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            folder.rmdir()
            pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")
        mounted.append(folder)
        folder.chmod(0o755)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()
