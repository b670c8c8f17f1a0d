"""A log in PostgreSQL: its triggers, its lock and durability, its URL, and what its server may say."""

import subprocess
import sys
import threading
import time

import pytest

from govern.audit import Log, fsck
from govern.audit.adding import create_log
from govern.errors import GovernError, IntegrityError, UsageError

pytestmark = pytest.mark.postgres
psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'govern-unlearning[postgres]'")


@pytest.fixture(scope="module")
def golden(postgres_logs, tmp_path_factory):
    """A log of six events, copied by the tests that damage one."""
    database = postgres_logs.golden(tmp_path_factory.mktemp("golden"))
    with Log.open(database) as log:
        for seq in range(1, 6):
            log.append("apply.started", parameters={"text": "a hazardous sentence"}, seed=seq)
    return database


@pytest.fixture
def copied(postgres_logs, golden, tmp_path):
    return postgres_logs.copy(golden, tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '' WHERE seq = 3",
        "UPDATE event SET body = body WHERE false",
        "DELETE FROM event WHERE seq = 5",
        "DELETE FROM event",
        "TRUNCATE event",
        "TRUNCATE node",
        "TRUNCATE event, node",
        "INSERT INTO event SELECT * FROM event WHERE seq = 5 ON CONFLICT (seq) DO UPDATE SET body = ''",
        "INSERT INTO event SELECT seq + 2, prev, leaf, body FROM event WHERE seq = 5",
        "INSERT INTO event SELECT -1, leaf, leaf, body FROM event WHERE seq = 5",
        "INSERT INTO event SELECT seq + 1, prev, leaf, body FROM event WHERE seq = 5",
        "INSERT INTO event SELECT seq + 1, '', leaf, body FROM event WHERE seq = 5",
        "INSERT INTO event SELECT seq, leaf, leaf, body FROM event WHERE seq = 5",
        "MERGE INTO event USING event AS other ON event.seq = other.seq WHEN MATCHED THEN DELETE",
        "UPDATE node SET hash = '' WHERE size = 2",
        "DELETE FROM node WHERE size = 2",
        "INSERT INTO node VALUES (2, 1, '')",
        "INSERT INTO node VALUES (2, 1, '') ON CONFLICT (size, level) DO UPDATE SET hash = ''",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_slips_of_the_hand_are_stopped(postgres_logs, copied, statement, role):
    with postgres_logs.connect(copied) as connection:
        connection.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.IntegrityError):
            connection.execute(statement)
    with Log.open(copied) as log:
        assert log.verify().size == 6
    assert list(fsck(copied)) == []


def test_a_role_that_may_only_read_and_insert_is_enough(postgres_logs, copied):
    with postgres_logs.connect(copied) as connection:
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute("CREATE ROLE clerk LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA govern TO clerk")
        connection.execute("GRANT SELECT ON event, node TO clerk")
        clerk = copied.replace("postgres@", "clerk@")
        with Log.open(clerk) as log:
            assert log.verify().size == 6
            with pytest.raises(GovernError, match="permission denied"):
                log.append("apply.started")
        connection.execute("GRANT INSERT ON event, node TO clerk")
        with Log.open(clerk) as log:
            log.append("apply.started")
            assert log.verify().size == 7
        connection.execute("REVOKE USAGE ON SCHEMA govern FROM clerk")
        with pytest.raises(GovernError, match="permission denied"), Log.open(clerk) as log:
            log.verify()
        connection.execute("DROP OWNED BY clerk")
        connection.execute("DROP ROLE clerk")


def test_a_lock_that_stays_is_said_plainly(copied, monkeypatch):
    monkeypatch.setattr("govern.audit.storage.BUSY_SECONDS", 0.1)
    with Log.open(copied) as other, Log.open(copied) as log:
        with other._engine.begin():
            with pytest.raises(GovernError, match="locked by another process"):
                log.append("apply.started")
            assert log.verify().size == 6
        log.append("apply.started")
        assert log.verify().size == 7


def test_two_writers_who_forgot_the_lock_cannot_fork_the_log(postgres_logs, copied):
    statement = "INSERT INTO govern.event SELECT seq + 1, leaf, ?, body FROM govern.event WHERE seq = 5"
    with postgres_logs.connect(copied) as first, postgres_logs.connect(copied) as second:
        first.execute("BEGIN")
        first.execute(statement, (b"1" * 32,))
        failures = []

        def insert():
            try:
                second.execute(statement, (b"2" * 32,))
            except psycopg.Error as error:
                failures.append(type(error))

        waiting = threading.Thread(target=insert)
        waiting.start()
        first.execute("COMMIT")
        waiting.join()
    assert len(failures) == 1
    assert issubclass(failures[0], psycopg.IntegrityError)


def test_a_lax_session_default_is_made_strict(postgres_logs, copied):
    name = copied.split("/")[3].split("?")[0]
    with postgres_logs.connect(copied) as connection:
        for setting in ("local", "off", "remote_apply", "on"):
            connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
            with Log.open(copied) as log, log._engine.begin() as transaction:
                found = transaction.exec_driver_sql("SHOW synchronous_commit").scalar()
            assert found == ("remote_apply" if setting == "remote_apply" else "on")
        connection.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


def test_a_reader_sees_one_snapshot_and_writes_nothing(copied):
    from govern.audit.storage import reading

    with Log.open(copied) as log, reading(log._engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM event").scalar() == 6
        log.append("apply.started")
        assert connection.exec_driver_sql("SELECT count(*) FROM event").scalar() == 6
        with pytest.raises(Exception, match="read-only"):
            connection.exec_driver_sql("DELETE FROM event")


def test_many_makers_make_one_log(postgres_logs):
    url = postgres_logs._scratch
    postgres_logs._empty()
    threads = [threading.Thread(target=create_log, args=(url,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Log.open(url) as log:
        assert log.verify().size == 1


def test_a_database_without_a_log_is_refused_and_left_alone(postgres_logs):
    postgres_logs._empty()
    with pytest.raises(IntegrityError, match="not an audit log"):
        Log.open(postgres_logs._scratch)
    with postgres_logs.connect(postgres_logs._scratch) as connection:
        assert connection.execute("SELECT to_regnamespace('govern')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("comment", "error", "words"),
    [
        ("'govern audit log, schema version 2'", GovernError, "schema version 2"),
        ("'mine'", IntegrityError, "not an audit log"),
        ("NULL", IntegrityError, "not an audit log"),
    ],
)
def test_a_schema_of_a_newer_version_or_of_something_else_is_refused(postgres_logs, copied, comment, error, words):
    with postgres_logs.connect(copied) as connection:
        connection.execute(f"COMMENT ON SCHEMA govern IS {comment}")
    with pytest.raises(error, match=words):
        Log.open(copied)


@pytest.mark.parametrize(
    ("statement", "damage"),
    [
        ("DROP TRIGGER event_is_never_deleted ON event", ("trigger event_is_never_deleted", "it is missing")),
        ("ALTER TABLE event DISABLE TRIGGER event_is_the_next", ("trigger event_is_the_next", "it was changed")),
        ("ALTER TABLE node ENABLE TRIGGER node_is_never_updated", ("trigger node_is_never_updated", "it was changed")),
        (
            "CREATE OR REPLACE TRIGGER event_is_never_updated BEFORE UPDATE ON event FOR EACH STATEMENT WHEN (false) "
            "EXECUTE FUNCTION refuse_change()",
            ("trigger event_is_never_updated", "it was changed"),
        ),
        (
            "CREATE TRIGGER eve AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
            ("trigger eve", "it does not belong here"),
        ),
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            ("function refuse_change", "it was changed"),
        ),
        (
            "CREATE RULE quietly AS ON INSERT TO event DO INSTEAD NOTHING",
            ("rule event.quietly", "it does not belong here"),
        ),
        ("ALTER TABLE event ADD COLUMN note text", ("column event.note", "it does not belong here")),
        ("ALTER TABLE node ALTER COLUMN hash DROP NOT NULL", ("column node.hash", "it was changed")),
        ("ALTER TABLE event DROP CONSTRAINT event_prev_key", ("index event(prev)", "it is missing")),
        ("CREATE INDEX mine ON event (leaf)", ("index event(leaf)", "it does not belong here")),
        ("CREATE VIEW v AS SELECT seq FROM event", ("column v.seq", "it does not belong here")),
    ],
)
def test_what_was_done_to_the_schema_is_named(postgres_logs, copied, statement, damage):
    with postgres_logs.connect(copied) as connection:
        connection.execute(statement)
    assert damage in [(found.where, found.what) for found in fsck(copied)]


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hush@host/log", "postgresql://host/log?password=hush", "postgresql://host/log?sslpassword=hush"],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="holds a password") as caught:
        Log.open(url)
    assert "hush" not in str(caught.value)
    assert "PGPASSFILE" in str(caught.value)


@pytest.mark.parametrize("url", ["", "host=here", "mysql://here/log", "postgresql://host/log?nonsense=hush"])
def test_what_is_no_url_is_a_mistake_of_the_user(url):
    with pytest.raises(UsageError) as caught:
        Log.open(url)
    assert "hush" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch):
    # The absence of a library cannot be had for real without another environment.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GovernError, match="pip install 'govern-unlearning\\[postgres\\]'"):
        Log.open("postgresql://here/log")


def test_a_server_that_is_down_and_one_that_says_no(own_postgres, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url = own_postgres.url("postgres")
    create_log(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'hush'")
    with pytest.raises(GovernError, match=r"no password supplied.*\n.*PGPASSFILE"):
        Log.open(own_postgres.url("postgres", user="stranger"))
    monkeypatch.setenv("PGPASSWORD", "a wrong hush")
    with pytest.raises(GovernError, match="password authentication failed") as caught:
        Log.open(own_postgres.url("postgres", user="stranger"))
    assert "hush" not in str(caught.value)
    with pytest.raises(GovernError, match='database "nowhere" does not exist'):
        Log.open(own_postgres.url("nowhere"))
    with Log.open(url) as log:
        own_postgres.crash()
        with pytest.raises(GovernError, match="cannot be reached"):
            log.append("apply.started")
        with pytest.raises(GovernError, match="cannot be reached"):
            Log.open(url)
        own_postgres.start()
        # The same open log goes on where the server was restarted.
        assert log.append("apply.started").event.seq == 1


def test_a_server_that_may_forget_is_refused(own_postgres):
    url = own_postgres.url("postgres")
    create_log(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        # The first process hears of it a little later.
        while connection.execute("SHOW fsync").fetchone() == ("on",):
            time.sleep(0.01)
    with pytest.raises(GovernError, match="runs with fsync off"):
        Log.open(url)


def test_a_session_that_begins_read_only_is_made_to_write(own_postgres):
    url = own_postgres.url("postgres")
    create_log(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    with Log.open(url) as log:
        # A session's default is no more than that: the log's own transactions say what they are.
        log.append("apply.started")
        assert log.verify().size == 2


def test_opening_a_file_needs_no_driver(tmp_path):
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path; from govern.audit import Log\n"
        f"print(Log.open(Path({str(tmp_path / 'audit.db')!r})).verify().size)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
