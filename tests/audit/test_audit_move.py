"""A log moves from SQLite to PostgreSQL byte for byte, once, and nothing is appended behind its back."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from unguarded import unguarded

from govern.audit import Log, fsck, move_log
from govern.audit.adding import create_log
from govern.audit.merkle import verify_inclusion
from govern.errors import GovernError, IntegrityError, UsageError

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_logs):
    """An empty database."""
    postgres_logs._empty()
    return postgres_logs._scratch


@pytest.fixture
def database(tmp_path):
    with Log.open(tmp_path / "audit.db") as log:
        for seq in range(10):
            log.append("apply.started", run="a run", parameters={"ä": seq / 8})
    return tmp_path / "audit.db"


def rows(database):
    with Log.open(database) as log:
        return list(log.events())


def test_every_byte_moves_and_the_log_goes_on_there(database, url):
    before = rows(database)
    with Log.open(database) as log:
        head, checkpoint = log.verify(), log.tree_head(7)
    assert move_log(database, url) == head
    assert rows(url) == before == rows(database)
    assert list(fsck(url)) == []
    with Log.open(url) as log:
        stored = log.append("apply.started")
        assert (stored.event.seq, stored.event.origin) == (11, head.origin)
        log.check_prefix(log.verify(against=checkpoint).tree, head.tree)
        proof = log.prove_inclusion(3, 12)
        verify_inclusion(bytes.fromhex(before[3].leaf), 3, 12, proof, log.tree_head().root)


def test_the_file_takes_no_more_events_and_says_where_the_log_went(database, url):
    with Log.open(database) as early:
        move_log(database, url)
        for log in (early, Log.open(database)):
            with pytest.raises(
                GovernError, match=r"this log was moved to postgresql://.*\nRun the command again"
            ) as caught:
                log.append("apply.started")
            assert not isinstance(caught.value, IntegrityError)
            assert log.verify().size == 11


@pytest.mark.parametrize("grown", [0, 3])
def test_a_move_that_was_interrupted_is_repeated(database, url, grown):
    move_log(database, url)
    with closing(sqlite3.connect(database)) as connection:
        # As if the copy had been made and the file never sealed.
        connection.execute("DROP TRIGGER event_goes_elsewhere")
    with Log.open(database) as log:
        for _ in range(grown):
            log.append("apply.started")
        head = log.verify()
    assert move_log(database, url) == head
    assert rows(url) == rows(database)
    # And once more, sealed as it is.
    assert move_log(database, url) == head


def test_a_log_that_went_on_elsewhere_is_not_taken_back(database, url):
    move_log(database, url)
    with Log.open(url) as log:
        log.append("apply.started")
    assert move_log(database, url).size == 12


def test_another_log_is_never_written_into(database, url):
    create_log(url)
    before = rows(url)
    with pytest.raises(UsageError, match="another log"):
        move_log(database, url)
    assert rows(url) == before
    with Log.open(database) as log:
        assert log.append("apply.started").event.seq == 11


def test_a_damaged_log_stays_where_it_is(database, url, postgres_logs):
    with unguarded(database) as connection:
        connection.execute("UPDATE event SET leaf = zeroblob(32) WHERE seq = 5")
    with pytest.raises(IntegrityError, match="event 5"):
        move_log(database, url)
    with postgres_logs.connect(url) as connection:
        assert connection.execute("SELECT to_regnamespace('govern')").fetchone() == (None,)


def test_without_a_file_a_new_log_begins(tmp_path, url):
    assert move_log(tmp_path / "audit.db", url).size == 1
    assert list(tmp_path.iterdir()) == []


def test_writers_during_a_move_lose_nothing(database, url, tmp_path):
    writer = """
import sys
from pathlib import Path
from govern.audit import Log
from govern.errors import GovernError
with Log.open(Path(sys.argv[1])) as log:
    print("ready", flush=True)
    for turn in range(100000):
        try:
            stored = log.append("apply.started", seed=turn)
        except GovernError as error:
            assert "was moved" in str(error), error
            break
        print(stored.event.seq, stored.leaf, flush=True)
"""
    outputs = [tmp_path / f"writer-{number}" for number in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-c", writer, database], stdout=output.open("w"), stderr=subprocess.PIPE)
        for output in outputs
    ]
    while not all(output.read_text() for output in outputs):
        time.sleep(0.01)
    head = move_log(database, url)
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    acknowledged = [line.split() for output in outputs for line in output.read_text().splitlines()[1:]]
    stored = {str(entry.event.seq): entry.leaf for entry in rows(url)}
    assert len(stored) == head.size == 11 + len(acknowledged)
    assert all(stored[seq] == leaf for seq, leaf in acknowledged)
