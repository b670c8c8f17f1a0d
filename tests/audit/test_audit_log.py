"""The log: exact bytes, dense and linear; every change is found and named; damage is an error with a remedy."""

import hashlib
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.audit import Log, parse_event
from govern.audit.merkle import Frontier, verify_consistency, verify_inclusion
from govern.digests import canonical_json
from govern.errors import IntegrityError, UsageError
from govern.records import Event

ZEROS = "0" * 64


@pytest.fixture
def database(logs, tmp_path):
    """A log with its first event."""
    return logs.new(tmp_path)


@pytest.fixture(scope="module")
def golden(logs, tmp_path_factory):
    """A log of six events, copied by the tests that damage one."""
    database = logs.golden(tmp_path_factory.mktemp("golden"))
    with Log.open(database) as log:
        for seq in range(1, 6):
            log.append("apply.started", run=f"run-{seq % 2}", parameters={"c": seq / 4}, seed=seq)
    return database


@pytest.fixture(scope="module")
def growing(logs, tmp_path_factory):
    """A log that only grows."""
    return logs.golden(tmp_path_factory.mktemp("growing"))


@pytest.fixture(scope="module")
def last(golden):
    """The newest event of the log of six."""
    with Log.open(golden) as log:
        return log.head()


@pytest.fixture
def copied(logs, golden, tmp_path):
    return logs.copy(golden, tmp_path)


def rebuild_tree(connection):
    """Make the stored tree fit whatever the events now are."""
    connection.execute("DELETE FROM node")
    frontier = Frontier()
    for (leaf,) in connection.execute("SELECT leaf FROM event ORDER BY seq").fetchall():
        for level, found in enumerate(frontier.append(leaf), 1):
            connection.execute("INSERT INTO node (size, level, hash) VALUES (?, ?, ?)", (frontier.size, level, found))


def leaf_of(body):
    return hashlib.sha256(b"\x00" + body).digest()


def verify(database):
    with Log.open(database, create=False) as log:
        return log.verify()


def test_a_new_log_begins_with_its_own_creation(database):
    with Log.open(database) as log:
        head = log.head()
        assert (head.event.seq, head.event.type, head.prev) == (0, "log.created", ZEROS)
        assert log.verify().size == 1


def test_two_logs_have_different_origins(tmp_path):
    heads = []
    for name in ("a.db", "b.db"):
        with Log.open(tmp_path / name) as log:
            heads.append(log.verify())
    assert heads[0].origin != heads[1].origin


def test_an_event_is_stored_as_the_bytes_that_were_hashed(logs, database):
    with Log.open(database) as log:
        first = log.head()
        stored = log.append(
            "apply.finished",
            actor="a" * 64,
            run="r",
            policy_digest="b" * 64,
            digests={"delta.safetensors": "c" * 64},
            parameters={"ä": [1, 2.0, None], "é": {"x": True}},
            seed=7,
            environment={"python": "3.11"},
        )
    with logs.connect(database) as connection:
        ((seq, prev, leaf, body),) = connection.execute("SELECT seq, prev, leaf, body FROM event WHERE seq = 1")
    assert seq == 1
    assert body == stored.body == canonical_json(json.loads(body))
    assert leaf == leaf_of(body) == bytes.fromhex(stored.leaf)
    assert prev.hex() == stored.prev == json.loads(body)["prev"] == first.leaf
    assert parse_event(body) == stored.event


def test_time_is_utc_with_microseconds(database):
    with Log.open(database) as log:
        time = log.head().event.time
    assert len(time) == len("2026-11-24T10:00:00.000000Z")
    assert time.endswith("Z")


def test_events_can_be_picked_by_run_and_type(golden):
    with Log.open(golden) as log:
        assert [stored.event.seq for stored in log.events()] == [0, 1, 2, 3, 4, 5]
        assert [stored.event.seq for stored in log.events(run="run-1")] == [1, 3, 5]
        assert [stored.event.seq for stored in log.events(type="log.created")] == [0]
        assert list(log.events(run="run-1", type="log.created")) == []


def test_reading_does_not_stop_a_writer(copied):
    with Log.open(copied) as log:
        seen = 0
        for _ in log.events():
            seen += 1
            log.append("apply.started")
        assert seen == 6
        assert log.verify().size == 12


def test_verify_gives_origin_size_and_leaf(golden):
    head = verify(golden)
    with Log.open(golden) as log:
        assert (head.origin, head.size, head.leaf) == (log.head().event.origin, 6, log.head().leaf)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53) + 1, 2**53 - 1)
            | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
            | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_json_value_survives(growing, parameters):
    with Log.open(growing) as log:
        stored = log.append("apply.started", parameters=parameters)
        assert log.verify().leaf == stored.leaf
        assert log.head().event.parameters == parameters


@pytest.mark.parametrize("value", [2**53, 2.0**53, -1e20, float("nan"), float("inf")])
def test_a_value_that_json_cannot_carry_is_refused_and_nothing_is_written(database, value):
    with Log.open(database) as log:
        with pytest.raises(UsageError, match="cannot hold"):
            log.append("apply.started", parameters={"x": value})
        assert log.verify().size == 1


@pytest.mark.parametrize("seq", range(6))
@pytest.mark.parametrize("column", ["body", "leaf", "prev"])
@pytest.mark.parametrize("place", [0, 17, -1])
def test_one_flipped_bit_is_found_and_named(logs, copied, seq, column, place):
    with logs.unprotected(copied) as connection:
        (data,) = connection.execute(f"SELECT {column} FROM event WHERE seq = ?", (seq,)).fetchone()
        flipped = bytearray(data)
        flipped[place] ^= 1
        connection.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", (bytes(flipped), seq))
    with pytest.raises(IntegrityError, match=rf"event {seq}\b"):
        verify(copied)


@pytest.mark.parametrize("seq", range(6))
@pytest.mark.parametrize("rehash", [False, True])
def test_a_rewritten_body_is_found_even_with_its_leaf_made_to_fit(logs, copied, seq, rehash):
    with logs.unprotected(copied) as connection:
        (body,) = connection.execute("SELECT body FROM event WHERE seq = ?", (seq,)).fetchone()
        body = canonical_json({**json.loads(body), "run": "another"})
        connection.execute("UPDATE event SET body = ? WHERE seq = ?", (body, seq))
        if rehash:
            connection.execute("UPDATE event SET leaf = ? WHERE seq = ?", (leaf_of(body), seq))
            rebuild_tree(connection)
    if rehash and seq == 5:
        # The newest event commits to the rest, nothing to it: only a checkpoint kept elsewhere can tell.
        assert verify(copied).size == 6
        return
    named = seq + 1 if rehash else seq
    with pytest.raises(IntegrityError, match=rf"event {named}\b"):
        verify(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"type": "apply.dreamt"},
        {"more": 1},
        {"seq": 4},
        {"seq": "5"},
        {"prev": ZEROS},
        {"origin": "govern-log/other"},
        {"type": "log.created"},
        {"seed": "7"},
    ],
)
def test_a_well_hashed_body_must_still_be_the_right_event(logs, copied, change):
    with logs.unprotected(copied) as connection:
        (body,) = connection.execute("SELECT body FROM event WHERE seq = 5").fetchone()
        body = canonical_json({**json.loads(body), **change})
        connection.execute("UPDATE event SET body = ?, leaf = ? WHERE seq = 5", (body, leaf_of(body)))
        rebuild_tree(connection)
    with pytest.raises(IntegrityError, match=r"event 5"):
        verify(copied)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 10_000, b"9" * 10_000, b"null"])
def test_a_well_hashed_body_of_garbage_is_named(logs, copied, body):
    with logs.unprotected(copied) as connection:
        connection.execute("UPDATE event SET body = ?, leaf = ? WHERE seq = 5", (body, leaf_of(body)))
    with pytest.raises(IntegrityError, match=r"event 5"):
        verify(copied)


@pytest.mark.parametrize(
    "parameters",
    [
        b'{"x":1.0}', b'{"x":1e2}', b'{"x":-0}', b'{"x":0.10}', b'{"x":9007199254740993}', b'{"x":1,"x":1}',
        b'{"b":1,"a":2}', b'{"x":"\\u0041"}', b'{"x":"\\/"}', b'{"x":1 }', '{"\ufb33":1,"\U0001f600":2}'.encode(),
    ],
)  # fmt: skip
def test_a_body_that_is_not_canonical_is_no_event(golden, parameters):
    with Log.open(golden) as log:
        body = log.head().body
    assert parse_event(body)
    with pytest.raises(ValueError, match="RFC 8785"):
        parse_event(body.replace(b'"parameters":{"c":1.25}', b'"parameters":' + parameters))


def test_a_body_with_every_kind_of_value_is_an_event(golden):
    with Log.open(golden) as log:
        body = log.head().body
    fitting = (
        '{"1e5":" 1.5,2.5e3","a":1e-7,"b":[1,1.5,-3],'
        '"c":"\\u0001\\n\x7f\u2028","\U0001f600":1,"\ufb33":9007199254740991}'
    )
    parse_event(body.replace(b'"parameters":{"c":1.25}', b'"parameters":' + fitting.encode()))


def test_another_spelling_of_the_same_body_is_found(logs, copied):
    with logs.unprotected(copied) as connection:
        (body,) = connection.execute("SELECT body FROM event WHERE seq = 5").fetchone()
        spaced = json.dumps(json.loads(body), sort_keys=True).encode()
        connection.execute("UPDATE event SET body = ?, leaf = ? WHERE seq = 5", (spaced, leaf_of(spaced)))
    with pytest.raises(IntegrityError, match="RFC 8785"):
        verify(copied)


@pytest.mark.parametrize("seq", range(5))
def test_a_deleted_event_is_named(logs, copied, seq):
    with logs.unprotected(copied) as connection:
        connection.execute("DELETE FROM event WHERE seq = ?", (seq,))
    with pytest.raises(IntegrityError, match=rf"event {seq}: it is missing"):
        verify(copied)


def test_deleting_and_closing_the_gap_is_found(logs, copied):
    with logs.unprotected(copied) as connection:
        connection.execute("DELETE FROM event WHERE seq = 2")
        for seq in (3, 4, 5):
            connection.execute("UPDATE event SET seq = seq - 1 WHERE seq = ?", (seq,))
    with pytest.raises(IntegrityError, match=r"event 2"):
        verify(copied)


def test_two_swapped_events_are_found(logs, copied):
    with logs.unprotected(copied) as connection:
        for before, after in ((2, 100), (3, 2), (100, 3)):
            connection.execute("UPDATE event SET seq = ? WHERE seq = ?", (after, before))
    with pytest.raises(IntegrityError, match=r"event 2"):
        verify(copied)


def test_an_empty_log_is_not_a_log(logs, copied):
    with logs.unprotected(copied) as connection:
        connection.execute("DELETE FROM event")
    with Log.open(copied) as log:
        assert log.head() is None
        with pytest.raises(IntegrityError, match="event 0"):
            log.verify()
        with pytest.raises(IntegrityError, match="event 0"):
            log.append("apply.started")


def test_an_event_of_another_log_is_found(logs, copied, tmp_path):
    with Log.open(tmp_path / "other.db") as other:
        stored = [other.append("apply.started") for _ in range(5)][-1]
    with logs.unprotected(copied) as connection:
        connection.execute(
            "UPDATE event SET prev = ?, leaf = ?, body = ? WHERE seq = 5",
            (bytes.fromhex(stored.prev), bytes.fromhex(stored.leaf), stored.body),
        )
    with pytest.raises(IntegrityError, match=r"event 5"):
        verify(copied)


def test_nothing_is_appended_to_a_head_that_does_not_check_out(logs, copied):
    with logs.unprotected(copied) as connection:
        connection.execute("UPDATE event SET body = ? WHERE seq = 5", (b"{}",))
    with Log.open(copied) as log:
        with pytest.raises(IntegrityError, match="event 5"):
            log.append("apply.started")
        with pytest.raises(IntegrityError, match="event 5"):
            log.head()


def test_errors_never_quote_a_body(logs, copied):
    secret = b'{"text":"a hazardous sentence"}'
    with logs.unprotected(copied) as connection:
        connection.execute("UPDATE event SET body = ?, leaf = ? WHERE seq = 5", (secret, leaf_of(secret)))
    with pytest.raises(IntegrityError) as caught:
        verify(copied)
    assert "hazardous" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE node SET hash = zeroblob(32) WHERE size = 2", 1),
        ("UPDATE node SET hash = zeroblob(32) WHERE size = 4 AND level = 2", 3),
        ("UPDATE node SET hash = 'text' WHERE size = 6", 5),
        ("UPDATE node SET size = 5 WHERE size = 6", 5),
        ("DELETE FROM node WHERE size = 4 AND level = 1", 3),
        ("DELETE FROM node", 1),
        ("INSERT INTO node (size, level, hash) VALUES (7, 1, zeroblob(32))", 6),
        ("INSERT INTO node (size, level, hash) VALUES (3, 1, zeroblob(32))", 3),
    ],
)
def test_a_changed_tree_is_found_and_named(logs, copied, statement, seq):
    with logs.unprotected(copied) as connection:
        connection.execute(statement)
    with pytest.raises(IntegrityError, match=rf"event {seq}: .*stored tree"):
        verify(copied)


def test_every_finding_is_listed_and_the_list_goes_on(logs, copied):
    with logs.unprotected(copied) as connection:
        connection.execute("UPDATE event SET leaf = zeroblob(32) WHERE seq = 1")
        connection.execute("DELETE FROM event WHERE seq = 3")
        connection.execute("UPDATE event SET body = 'text' WHERE seq = 5")
    with Log.open(copied) as log:
        found = [finding.seq for finding in log.findings()]
    assert found == [1, 2, 3, 4, 5]


def test_proofs_hold_for_every_event_and_every_prefix(database):
    with Log.open(database) as log:
        for _ in range(20):
            log.append("apply.started")
        heads = [log.tree_head(size) for size in range(22)]
        assert log.verify().root == heads[21].root.hex() == log.tree_head().root.hex()
        for size in range(1, 22):
            for stored in log.events():
                if stored.event.seq < size:
                    proof = log.prove_inclusion(stored.event.seq, size)
                    verify_inclusion(bytes.fromhex(stored.leaf), stored.event.seq, size, proof, heads[size].root)
            proof = log.prove_consistency(size, 21)
            verify_consistency(size, 21, heads[size].root, heads[21].root, proof)


def test_proofs_beyond_the_end_are_refused(copied):
    with Log.open(copied) as log:
        for ask in (
            lambda: log.tree_head(7),
            lambda: log.prove_inclusion(6, 6),
            lambda: log.prove_inclusion(0, 7),
            lambda: log.prove_inclusion(-1, 6),
            lambda: log.prove_consistency(3, 7),
            lambda: log.prove_consistency(0, 3),
            lambda: log.prove_consistency(4, 3),
            lambda: log.event(6),
        ):
            with pytest.raises(UsageError):
                ask()
        assert log.event(3).event.seq == 3


def test_a_log_without_its_table_is_refused(logs, copied):
    with logs.connect(copied) as connection:
        connection.execute("DROP TABLE event")
    with pytest.raises(IntegrityError, match="damaged"):
        verify(copied)


def test_threads_share_a_log(database):
    with Log.open(database) as log:
        threads = [threading.Thread(target=lambda: [log.append("apply.started") for _ in range(10)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.verify().size == 41


@given(st.binary(max_size=200))
def test_the_event_parser_refuses_anything_without_falling_over(data):
    with pytest.raises(ValueError, match="its body"):
        parse_event(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_body_never_means_the_same_event(last, data):
    place = data.draw(st.integers(0, len(last.body) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    mutated = last.body[:place] + byte + last.body[place + 1 :]
    try:
        event: Event = parse_event(mutated)
    except ValueError:
        return
    assert (event == last.event) == (mutated == last.body)


def test_events_of_a_run_stay_right_while_the_log_grows(copied):
    with Log.open(copied) as log, Log.open(copied) as other:
        assert [stored.event.seq for stored in log.events(run="run-0")] == [2, 4]
        other.append("apply.finished", run="run-0")
        other.append("apply.started", run="run-1")
        log.append("apply.started", run="run-0")
        assert [stored.event.seq for stored in log.events(run="run-0")] == [2, 4, 6, 8]
        assert [stored.event.seq for stored in log.events(run="run-0", type="apply.finished")] == [6]
        assert [stored.event.seq for stored in log.events(type="apply.finished")] == [6]
        assert list(log.events(run="nobody")) == []
        log.verify()
        assert [stored.event.seq for stored in log.events(run="run-1")] == [1, 3, 5, 7]


def test_a_verified_log_is_not_read_once_more_for_each_run(copied, monkeypatch):
    scans = []

    with Log.open(copied) as log:
        stream = type(log._storage).stream

        def count(storage, connection, statement, *values):
            scans.append(statement.startswith("SELECT seq, prev, leaf, body FROM event") and not values)
            return stream(storage, connection, statement, *values)

        monkeypatch.setattr(type(log._storage), "stream", count)
        log.verify()
        assert sum(scans) == 1
        for run in ("run-0", "run-1", "run-2"):
            list(log.events(run=run))
        list(log.events(type="apply.started"))
        assert sum(scans) == 1


def test_an_event_that_changed_hands_since_it_was_read_is_found(logs, copied):
    with Log.open(copied) as log:
        assert len(list(log.events(run="run-1"))) == 3
        with logs.unprotected(copied) as connection:
            connection.execute("DELETE FROM event WHERE seq = 5")
        with pytest.raises(IntegrityError, match="event 5: it is missing"):
            list(log.events(run="run-1"))
