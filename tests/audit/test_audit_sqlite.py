"""A log in a SQLite file: its triggers, its durability, damage of the file itself."""

import sqlite3
import threading
from contextlib import closing

import pytest

from govern.audit import Log
from govern.errors import GovernError, IntegrityError, UsageError


@pytest.fixture(scope="module")
def golden(sqlite_logs, tmp_path_factory):
    """A log of six events, copied by the tests that damage one."""
    database = sqlite_logs.new(tmp_path_factory.mktemp("golden"))
    with Log.open(database) as log:
        for seq in range(1, 6):
            log.append("apply.started", parameters={"c": seq / 4}, seed=seq)
    return database


@pytest.fixture
def copied(sqlite_logs, golden, tmp_path):
    return sqlite_logs.copy(golden, tmp_path)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "audit.db"


def verify(database):
    with Log.open(database, create=False) as log:
        return log.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = x'00' WHERE seq = 3",
        "UPDATE event SET seq = 9 WHERE seq = 5",
        "DELETE FROM event WHERE seq = 5",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event SELECT * FROM event WHERE seq = 5",
        "REPLACE INTO event (seq, prev, leaf, body) SELECT 6, prev, leaf, body FROM event WHERE seq = 5",
        "INSERT INTO event (seq, prev, leaf, body) VALUES (7, x'01', x'02', x'03')",
        "INSERT INTO event (seq, prev, leaf, body) VALUES (-1, x'01', x'02', x'03')",
        "INSERT INTO event (seq, prev, leaf, body) SELECT 6, prev, x'02', x'03' FROM event WHERE seq = 5",
        "UPDATE node SET hash = zeroblob(32) WHERE size = 2",
        "DELETE FROM node WHERE size = 2",
        "INSERT OR REPLACE INTO node (size, level, hash) VALUES (2, 1, zeroblob(32))",
    ],
)
def test_slips_of_the_hand_are_stopped(copied, statement):
    with closing(sqlite3.connect(copied)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    assert verify(copied).size == 6


@pytest.mark.parametrize("value", ["'text'", "CAST(x'ff' AS TEXT)", "5", "1.5", "''", "x''"])
@pytest.mark.parametrize("column", ["body", "leaf", "prev"])
def test_a_column_of_another_type_is_found(sqlite_logs, copied, column, value):
    with sqlite_logs.unprotected(copied) as connection:
        connection.execute(f"UPDATE event SET {column} = {value} WHERE seq = 3")
    with pytest.raises(IntegrityError, match=r"audit\.db event 3"):
        verify(copied)


def test_a_missing_log_is_made_only_where_wanted(database):
    with pytest.raises(UsageError, match="no audit log"):
        Log.open(database, create=False)
    assert not database.exists()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like one" * 100])
def test_a_file_that_is_no_database_is_refused(database, content):
    database.write_bytes(content)
    with pytest.raises(IntegrityError):
        Log.open(database)
    assert database.read_bytes() == content


def test_another_database_is_refused_and_left_alone(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = database.read_bytes()
    with pytest.raises(IntegrityError, match="not an audit log"):
        Log.open(database)
    assert database.read_bytes() == before


def test_a_log_of_a_newer_version_is_refused(copied):
    with closing(sqlite3.connect(copied)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(GovernError, match="schema version 2"):
        Log.open(copied)


def test_torn_pages_are_an_integrity_error(golden, database):
    whole = golden.read_bytes()
    found = 0
    for start in range(512, len(whole), 512):
        database.write_bytes(whole[:start] + b"\xa5" * 512 + whole[start + 512 :])
        try:
            verify(database)
        except IntegrityError:
            found += 1
        except GovernError as error:
            pytest.fail(f"{start}: {error}")
    assert found > 3


def test_a_truncated_file_is_an_integrity_error(golden, database):
    database.write_bytes(golden.read_bytes()[:5000])
    with pytest.raises(IntegrityError):
        verify(database)


def test_a_lock_that_stays_is_said_plainly(copied, monkeypatch):
    monkeypatch.setattr("govern.audit.storage.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(copied, isolation_level=None)) as other, Log.open(copied) as log:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GovernError, match="locked by another process"):
            log.append("apply.started")
        assert log.verify().size == 6
        other.execute("ROLLBACK")
        log.append("apply.started")


def test_a_folder_in_the_logs_place_is_an_error(database):
    database.mkdir()
    with pytest.raises(GovernError):
        Log.open(database)


def test_durability_settings_are_the_strict_ones(copied):
    with Log.open(copied) as log, log._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_many_openers_make_one_log(tmp_path):
    database = tmp_path / "audit.db"
    origins = []

    def start():
        with Log.open(database) as log:
            origins.append(log.head().event.origin)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(origins) == 8
    assert len(set(origins)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["audit.db"]
