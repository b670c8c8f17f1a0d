"""A database that takes an event and does not keep it, or shows what is not there, is refused: when opened, or at once.

Somebody who may write the database adds triggers, views, rules or rows. No command may then say that something was
logged that was not, and none may miss what lies outside of the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from unguarded import unguarded

from govern.audit import Log, fsck
from govern.audit.body import leaf_hash
from govern.digests import canonical_json
from govern.errors import IntegrityError

SWALLOWS = "CREATE TRIGGER quiet BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); END"
RENAMED = "ALTER TABLE event RENAME TO kept"

SQLITE = {
    "a trigger that ignores": [SWALLOWS],
    "one that ignores some": [SWALLOWS.replace("BEGIN", "WHEN instr(NEW.body, x'7265') BEGIN", 1)],
    "one that takes away again": [
        "DROP TRIGGER event_is_never_deleted",
        "CREATE TRIGGER event_is_never_deleted AFTER INSERT ON event BEGIN DELETE FROM event WHERE seq = NEW.seq; END",
    ],
    "one of our names with another text": [
        "DROP TRIGGER event_is_the_next",
        "CREATE TRIGGER event_is_the_next BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); END",
    ],
    "one that looks like a moved log's": [
        "CREATE TRIGGER event_goes_elsewhere BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); "
        "SELECT RAISE(ABORT, 'this log was moved to x'); END"
    ],
    "one on the tree": ["CREATE TRIGGER quiet BEFORE INSERT ON node BEGIN SELECT RAISE(IGNORE); END"],
    "a trigger too few": ["DROP TRIGGER node_is_new"],
    "a view": [RENAMED, "CREATE VIEW event AS SELECT * FROM kept"],
    "a view beside": ["CREATE VIEW mine AS SELECT * FROM event"],
    "a view that writes": [
        RENAMED,
        "CREATE VIEW event AS SELECT * FROM kept WHERE seq < 3",
        "CREATE TRIGGER quiet INSTEAD OF INSERT ON event BEGIN SELECT 1; END",
    ],
    "a table that ignores": [
        "CREATE TABLE other (seq INTEGER NOT NULL, prev BLOB NOT NULL, leaf BLOB NOT NULL, body BLOB NOT NULL, "
        "PRIMARY KEY (seq) ON CONFLICT IGNORE, UNIQUE (prev) ON CONFLICT IGNORE)",
        "INSERT INTO other SELECT * FROM event",
        "DROP TABLE event",
        "ALTER TABLE other RENAME TO event",
    ],
    "an index": ["CREATE INDEX mine ON event (leaf)"],
    "an index over an expression": ["CREATE INDEX mine ON event (length(body))"],
    "a column": ["ALTER TABLE event ADD COLUMN note TEXT"],
    "a column that is computed": ["ALTER TABLE event ADD COLUMN note TEXT AS (1) VIRTUAL"],
    "a table beside": ["CREATE TABLE mine (x)"],
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four events."""
    with Log.open(tmp_path / "audit.db") as made:
        for _ in range(3):
            made.append("apply.started", run="r")
    return tmp_path / "audit.db"


def run(database: Path, statements: list[str]) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("how", SQLITE)
@pytest.mark.parametrize("open_", [Log.open, Log.read])
def test_a_schema_that_is_not_ours_is_refused_when_opened(log: Path, how: str, open_: Any) -> None:
    run(log, SQLITE[how])
    with pytest.raises(IntegrityError, match="the audit log is damaged"):
        open_(log)
    assert list(fsck(log))


@pytest.mark.parametrize("how", ["a trigger that ignores", "one that takes away again", "one on the tree"])
def test_an_event_that_is_not_kept_is_never_acknowledged(log: Path, how: str) -> None:
    """Changed behind an open log, where only reading back can tell."""
    with Log.open(log) as opened:
        run(log, SQLITE[how])
        if how == "one on the tree":
            # The fifth event completes no subtree, the sixth does.
            opened.append("apply.started")
        with pytest.raises(IntegrityError, match="did not store it"):
            opened.append("removal.revoked")
        assert opened.verify().size == (5 if how == "one on the tree" else 4)


def test_statistics_that_somebody_had_made_are_no_damage(log: Path) -> None:
    run(log, ["ANALYZE"])
    with Log.open(log) as opened:
        opened.append("apply.started")
    assert list(fsck(log)) == []


POSTGRES = {
    "a trigger that ignores": [
        "CREATE FUNCTION govern.quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER a_quiet BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION quiet()",
    ],
    "a trigger with a function from elsewhere": [
        "CREATE FUNCTION public.quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER a_quiet BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION public.quiet()",
    ],
    "a rule": ["CREATE RULE quietly AS ON INSERT TO event DO INSTEAD NOTHING"],
    "our function with other settings": ["ALTER FUNCTION refuse_change() SET search_path = public"],
    "our function as its owner": ["ALTER FUNCTION refuse_change() SECURITY DEFINER"],
    "rows that are hidden": [
        "ALTER TABLE event ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON event USING (seq < 3)",
    ],
    "a table that forgets": ["ALTER TABLE node SET UNLOGGED"],
    "a table with heirs": ["CREATE TABLE public.heir () INHERITS (govern.event)"],
    "a condition": ["ALTER TABLE event ADD CONSTRAINT mine CHECK (seq < 1000)"],
    "a default": ["ALTER TABLE event ALTER COLUMN body SET DEFAULT ''"],
    "a view in the place": [
        "ALTER TABLE event RENAME TO kept",
        "CREATE VIEW event AS SELECT * FROM kept",
    ],
    "a deferred trigger": [
        "CREATE FUNCTION public.quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION public.quiet()",
    ],
    "an order that is put off": [
        "ALTER TABLE event DROP CONSTRAINT event_prev_key",
        "ALTER TABLE event ADD CONSTRAINT event_prev_key UNIQUE (prev) DEFERRABLE INITIALLY DEFERRED",
    ],
}


@pytest.mark.postgres
class TestPostgres:
    @pytest.fixture
    def log(self, postgres_logs: Any, tmp_path: Path) -> Iterator[str]:
        url = postgres_logs.new(tmp_path)
        with Log.open(url) as made:
            for _ in range(3):
                made.append("apply.started", run="r")
        yield url
        with postgres_logs.connect(url) as connection:
            connection.execute("DROP FUNCTION IF EXISTS public.quiet() CASCADE")
            connection.execute("DROP TABLE IF EXISTS public.heir")

    @pytest.mark.parametrize("how", POSTGRES)
    def test_a_schema_that_is_not_ours_is_refused_when_opened(self, postgres_logs: Any, log: str, how: str) -> None:
        with postgres_logs.connect(log) as connection:
            for statement in POSTGRES[how]:
                connection.execute(statement)
        with pytest.raises(IntegrityError, match="the audit log is damaged"):
            Log.open(log)
        assert list(fsck(log))

    @pytest.mark.parametrize("how", ["a trigger that ignores", "a rule"])
    def test_an_event_that_is_not_kept_is_never_acknowledged(self, postgres_logs: Any, log: str, how: str) -> None:
        with Log.open(log) as opened:
            with postgres_logs.connect(log) as connection:
                for statement in POSTGRES[how]:
                    connection.execute(statement)
            with pytest.raises(IntegrityError, match="did not store it"):
                opened.append("removal.revoked")
            assert opened.verify().size == 4


ROWS = {
    "before the first": "INSERT INTO event SELECT -1, x'01', leaf, body FROM event WHERE seq = 1",
    "far before": "INSERT INTO event SELECT -9223372036854775808, x'01', leaf, body FROM event WHERE seq = 1",
    "behind the last": "INSERT INTO event SELECT 4, leaf, x'02', body FROM event WHERE seq = 3",
    "far behind": "INSERT INTO event SELECT 9223372036854775807, x'01', leaf, body FROM event WHERE seq = 1",
    "a gap": "DELETE FROM event WHERE seq = 2",
    "no first": "DELETE FROM event WHERE seq = 0",
    "moved": "UPDATE event SET seq = 7 WHERE seq = 3",
    "a node before": "INSERT INTO node VALUES (-2, 1, zeroblob(32))",
    "a node of no level": "INSERT INTO node VALUES (1, 0, zeroblob(32))",
    "a node behind": "INSERT INTO node VALUES (64, 6, zeroblob(32))",
}


@pytest.mark.parametrize("how", ROWS)
def test_a_row_outside_of_the_log_is_found(log: Path, how: str) -> None:
    with unguarded(log) as connection:
        connection.execute(ROWS[how])
    with Log.read(log) as opened, pytest.raises(IntegrityError):
        opened.verify()
    assert list(fsck(log))
    if "node" not in how:
        for question in ({}, {"run": "r"}, {"type": "apply.started"}):
            with Log.read(log) as opened, pytest.raises(IntegrityError):
                list(opened.events(**question))  # type: ignore[arg-type]


BODIES: dict[str, Any] = {
    "no object": b"[1]",
    "no JSON": b"{",
    "nothing": b"",
    "not UTF-8": b'{"a":"\xff"}',
    "no event": b'{"a":1}',
    "an unknown type": {"type": "apply.dreamt"},
    "a type of another kind": {"type": 7},
    "a number for a text": {"actor": 1},
    "a text for a number": {"seed": "7"},
    "true for a number": {"seq": True},
    "a float for a number": {"seq": 1.5},
    "a field too many": {"more": 1},
    "a list for an object": {"parameters": []},
    "a number in the digests": {"digests": {"a": 1}},
    "another version": {"format_version": 2},
    "not a number": b"NaN",
    "an infinite number": b"Infinity",
    "a number beyond any": b"1e999",
    "an integer beyond exactness": b"9007199254740993",
    "an integer of 10,000 digits": b"9" * 10_000,
    "a thousand deep": b"[" * 1000 + b"]" * 1000,
    "a hundred thousand deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a lone surrogate": b'"\\ud800"',
    "one key twice": b'{"a":1,"a":1}',
    "larger than any": b'"' + b"a" * (5 << 20) + b'"',
    "another order": b'{"b":1,"a":1}',
}


@pytest.mark.parametrize("how", BODIES)
@pytest.mark.parametrize("seq", [2, 3])
def test_an_event_that_is_none_is_named_though_the_chain_holds(log: Path, how: str, seq: int) -> None:
    """Somebody who can compute hashes writes anything into an event, and mends the leaf, and the leaf after it."""
    with Log.read(log) as opened:
        original = opened.event(seq)
    change = BODIES[how]
    value = original.event.to_json()
    if isinstance(change, dict):
        body = canonical_json({**value, **change})
    elif change[:1] in b'[{9NI1"' and change not in (b"[1]", b"{", b'{"a":1}', b'{"a":"\xff"}'):
        # The value of a parameter of an event that is well made otherwise.
        body = canonical_json({**value, "parameters": {"x": "HERE"}}).replace(b'"HERE"', change)
    else:
        body = change
    with unguarded(log) as connection:
        connection.execute(
            "UPDATE event SET body = ?, leaf = ? WHERE seq = ?", (body, bytes.fromhex(leaf_hash(body)), seq)
        )
    with Log.read(log) as opened:
        with pytest.raises(IntegrityError, match=rf"audit\.db event {seq}: (its|the event's) body"):
            opened.verify()
        with pytest.raises(IntegrityError, match=rf"event {seq}: (its|the event's) body"):
            list(opened.events())
        with pytest.raises(IntegrityError, match=rf"event {seq}: (its|the event's) body"):
            opened.event(seq)
    assert f"event {seq}" in {damage.where for damage in fsck(log)}
    if seq == 3:
        with Log.open(log) as opened, pytest.raises(IntegrityError, match=r"event 3: (its|the event's) body"):
            opened.append("apply.started")
