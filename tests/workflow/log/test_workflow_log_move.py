"""A workspace whose log is in PostgreSQL: every command of the audit trail does what it does with a file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from govern.audit import Log, fsck, move_log
from govern.cli import main
from govern.workspace import Workspace

pytestmark = pytest.mark.postgres


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def govern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("GOVERN_LOG_KEY", "GOVERN_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOVERN_KEY_PASSWORD", "password")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["govern", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


def test_the_audit_trail_goes_on_in_a_database(
    govern: Callable[..., Done], new_postgres: Callable[[], str], tmp_path: Path
) -> None:
    def works(*arguments: str) -> str:
        done = govern(*arguments)
        assert done.code == 0, f"{arguments}\n{done.err}"
        return done.out

    works("keys", "generate", "--log")
    works("audit", "checkpoint", "--out", "before.checkpoint")
    url = new_postgres()
    moved = json.loads(works("audit", "move", url, "--json"))
    assert (moved["url"], moved["events"]) == (url, 2)
    assert (tmp_path / "audits" / "log.url").read_text() == f"{url}\n"
    assert Workspace.open(tmp_path / "audits").database == url
    with Log.open(url) as log:
        for _ in range(3):
            log.append("export.finished")
    works("audit", "checkpoint", "--out", "after.checkpoint")
    works("audit", "witness", "witness")
    works("audit", "prove", "3", "--out", "event.tlog-proof")
    works("audit", "check-proof", "event.tlog-proof", "--log-key", "audits/keys/log.vkey")
    works("audit", "export", "--out", "log.jsonl")
    works("audit", "check-export", "log.jsonl", "--against", "after.checkpoint", "--log-key", "audits/keys/log.vkey")
    assert works("audit", "fsck") == "no damage\n"
    assert json.loads(works("audit", "log", "--json"))["events"][4]["seq"] == 4
    for checkpoint in ("before.checkpoint", "after.checkpoint", "witness"):
        assert "5 events" in works("audit", "verify", "--against", checkpoint)
    works("status")

    again = govern("audit", "move", url)
    assert again.code == 2
    assert "already" in again.err

    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = govern")
        connection.execute("ALTER TABLE event DISABLE TRIGGER event_is_never_deleted")
        connection.execute("DELETE FROM event WHERE seq = 4")
        connection.execute("ALTER TABLE event ENABLE ALWAYS TRIGGER event_is_never_deleted")
    cut = govern("audit", "verify", "--against", "after.checkpoint")
    assert cut.code == 4
    assert "events were cut off" in cut.err
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE govern.event DISABLE TRIGGER event_is_never_deleted")
    assert govern("audit", "verify").code == 4
    assert govern("audit", "fsck").code == 4
    (tmp_path / "audits" / "log.url").write_text("\n")
    assert govern("audit", "verify").code == 4
    (tmp_path / "audits" / "log.url").write_text(url.replace("postgres@", "postgres:hush@"))
    secret = govern("audit", "verify")
    assert secret.code == 2
    assert "hush" not in secret.err


def test_the_guide_s_commands_work(
    govern: Callable[..., Done], new_postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    guide = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
    url = new_postgres()
    assert govern("keys", "generate", "--log").code == 0
    assert govern("audit", "checkpoint", "--out", "handed-out.checkpoint").code == 0
    commands = [line.split() for line in re.findall(r"^    govern (\S.*)$", guide, re.M)]
    assert len(commands) == 2
    for command in commands:
        done = govern(*[url if word.startswith("postgresql://") else word for word in command])
        assert done.code == 0, done.err
    with psycopg.connect(url, autocommit=True) as connection:
        (rights,) = re.findall(r"```sql\n(.*?)```", guide, re.S)
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute(rights)
        (tmp_path / "audits" / "log.url").write_text(url.replace("postgres@", "clerk@"))
        assert govern("keys", "generate", "--log", "--out", "another.pem").code == 0
        done = govern("audit", "verify")
        assert (done.code, done.out[:24]) == (0, "the log holds: 3 events,")
        connection.execute("DROP OWNED BY clerk")
        connection.execute("DROP ROLE clerk")


@pytest.mark.skipif(shutil.which("pg_dump") is None, reason="needs pg_dump")
def test_postgresql_s_own_backup_keeps_the_log(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    first, second = new_postgres(), new_postgres()
    with Log.open(tmp_path / "audit.db") as log:
        for seq in range(9):
            log.append("export.finished", parameters={"x": seq / 8})
    head = move_log(tmp_path / "audit.db", first)
    dump = subprocess.run(["pg_dump", "--schema=govern", "--dbname", first], capture_output=True, check=True)
    subprocess.run(["psql", "--quiet", "-v", "ON_ERROR_STOP=1", "-d", second], input=dump.stdout, check=True)
    assert list(fsck(second)) == []
    with Log.open(second) as log:
        assert log.verify() == head
        log.append("export.finished")
