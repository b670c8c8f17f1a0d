"""fsck lists all damage, where `verify` stops at the first."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from govern.audit import Log, fsck
from govern.errors import UsageError


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    database = tmp_path_factory.mktemp("golden") / "audit.db"
    with Log.open(database) as log:
        for _ in range(5):
            log.append("apply.started", parameters={"text": "a hazardous sentence"})
    return database


@pytest.fixture
def copied(golden, tmp_path):
    return shutil.copy(golden, tmp_path / "audit.db")


def damage(database, *statements):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return [(found.where, found.what) for found in fsck(database)]


def test_a_sound_log_has_none(copied):
    assert damage(copied) == []


def test_a_missing_log_is_said(tmp_path):
    with pytest.raises(UsageError):
        list(fsck(tmp_path / "audit.db"))


def test_a_dropped_and_a_blunted_trigger_are_found(copied):
    assert damage(
        copied,
        "DROP TRIGGER event_is_never_deleted",
        "DROP TRIGGER event_is_never_updated",
        "CREATE TRIGGER event_is_never_updated BEFORE UPDATE ON event BEGIN SELECT 1; END",
        "CREATE TRIGGER eve AFTER INSERT ON event BEGIN SELECT 1; END",
    ) == [
        ("trigger eve", "it does not belong here"),
        ("trigger event_is_never_deleted", "it is missing"),
        ("trigger event_is_never_updated", "it was changed"),
    ]


def test_a_foreign_column_and_index_are_found(copied):
    found = damage(copied, "ALTER TABLE event ADD COLUMN note TEXT", "CREATE INDEX mine ON event (leaf)")
    assert ("column event.note", "it does not belong here") in found
    assert ("index event(leaf)", "it does not belong here") in found


def test_every_damaged_event_is_listed(copied):
    found = damage(
        copied,
        "DROP TRIGGER event_is_never_updated",
        "UPDATE event SET leaf = zeroblob(32) WHERE seq = 1",
        "UPDATE event SET body = 'text' WHERE seq = 4",
    )
    assert [where for where, _ in found] == [
        "trigger event_is_never_updated", "event 1", "event 2", "event 4",
    ]  # fmt: skip
    assert "hazardous" not in str(found)


def test_torn_pages_are_listed_and_nothing_falls_over(golden, tmp_path):
    whole = golden.read_bytes()
    found = 0
    for start in range(512, len(whole), 1024):
        torn = tmp_path / "audit.db"
        torn.write_bytes(whole[:start] + b"\xa5" * 512 + whole[start + 512 :])
        found += bool(list(fsck(torn)))
    assert found > 5
