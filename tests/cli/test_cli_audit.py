"""`govern audit` as scripts call it: JSON on stdout, and the exit code for each kind of trouble."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from unguarded import unguarded

from govern.audit import Log
from govern.cli import main
from govern.errors import ExitCode

OK, USAGE, INTEGRITY = ExitCode.OK, ExitCode.USAGE, ExitCode.INTEGRITY


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        assert found.pop("format_version") == 1
        return found


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, in a folder of its own whose log has a key and six events."""
    monkeypatch.chdir(tmp_path)
    for name in ("GOVERN_LOG_KEY", "GOVERN_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOVERN_KEY_PASSWORD", "password")

    def govern(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["govern", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    assert govern("keys", "generate", "--log").code == OK
    with Log.open(tmp_path / "audits" / "audit.db") as log:
        for _ in range(4):
            log.append("export.finished", parameters={"folder": "x"})
    return govern


def damage(statement: str) -> None:
    with unguarded("audits/audit.db") as connection:
        connection.execute(statement)


def test_each_command_prints_one_json_object(run: Run) -> None:
    made = run("keys", "generate", "--log", "--out", "second.pem", "--json").json
    assert made == {"key": "second.pem", "public": "second.vkey", "vkey": Path("second.vkey").read_text().strip()}
    signed = run("audit", "checkpoint", "--out", "kept", "--json").json
    assert (signed["events"], signed["note"]) == (7, Path("kept").read_text())
    origin, root = signed["origin"], signed["root"]
    common = {"origin": origin, "events": 7, "root": root}
    witnessed = {"witness": "w", **common, "checkpoints": 1}
    assert run("audit", "witness", "w", "--json").json == {**witnessed, "added": True}
    assert run("audit", "witness", "w", "--json").json == {**witnessed, "added": False}
    verified = run("audit", "verify", "--against", "kept", "--log-key", "audits/keys/log.vkey", "--json").json
    assert (verified["valid"], verified["root"], verified["checkpoints"], verified["against"]) == (True, root, 1, 7)
    assert run("audit", "prove", "3", "--out", "e.proof", "--json").json == {
        "proof": "e.proof", "event": "e.json", "seq": 3, "origin": origin, "events": 7,
    }  # fmt: skip
    vkey = Path("audits/keys/log.vkey").read_text().strip()
    checked = run("audit", "check-proof", "e.proof", "--log-key", vkey, "--json").json
    event = json.loads(Path("e.json").read_bytes())
    assert checked == {"valid": True, **common, "event": event, "cosigned": {}}
    assert run("audit", "export", "--out", "log.jsonl", "--json").json == {"export": "log.jsonl", **common}
    checked = run("audit", "check-export", "log.jsonl", "--against", "w", "--log-key", vkey, "--json").json
    assert (checked["valid"], checked["root"], checked["against"]) == (True, root, 7)
    assert run("audit", "fsck", "--json").json == {"damage": []}


def test_stdout_holds_the_artefact_and_nothing_else(run: Run) -> None:
    printed = run("audit", "checkpoint")
    assert printed.out.encode() == Path("audits/checkpoints/6").read_bytes()
    lines = run("audit", "export", "--out", "-").out.splitlines()
    first = json.loads(lines[0])
    assert json.loads(base64.b64decode(first["body"]))["type"] == "log.created"
    assert len(lines) == 6
    assert run("audit", "export", "--out", "-", "--json").code == USAGE


def test_what_cannot_be_done_is_a_usage_error_with_a_remedy(run: Run) -> None:
    run("audit", "export", "--out", "log.jsonl")
    for arguments, remedy in {
        ("audit", "witness", "w"): "govern audit checkpoint",
        ("audit", "prove", "1", "--out", "p"): "govern audit checkpoint",
        ("audit", "prove", "9", "--out", "p"): "govern audit log",
        ("audit", "export", "--out", "log.jsonl"): "Name a new one",
        ("audit", "export", "--out", "missing/log.jsonl"): "cannot be written",
        ("audit", "checkpoint", "--log-key", "missing.pem"): "govern keys generate --log",
        ("audit", "checkpoint", "--out", "log.jsonl"): "Name a new one",
        ("audit", "verify", "--log-key", "audits/keys/log.vkey"): "--against FILE",
        ("audit", "verify", "--against", "missing"): "cannot be read",
        ("audit", "verify", "--against", "log.jsonl", "--log-key", "log.jsonl"): ".vkey",
        ("audit", "check-proof", "p"): "log.vkey",
        ("audit", "check-export", "log.jsonl", "--against", "w"): "--log-key",
        ("keys", "generate", "--log"): "never overwritten",
    }.items():
        done = run(*arguments)
        assert (done.code, done.out) == (USAGE, ""), arguments
        assert remedy in done.err, arguments
        assert "Traceback" not in done.err


def test_no_password_no_checkpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVERN_KEY_PASSWORD")
    done = run("audit", "checkpoint", "--no-input")
    assert (done.code, "GOVERN_KEY_PASSWORD" in done.err) == (USAGE, True)
    assert not Path("audits/checkpoints").exists()


def test_a_cut_log_is_exit_4_wherever_it_matters(run: Run) -> None:
    run("audit", "checkpoint", "--out", "kept")
    run("audit", "witness", "w")
    damage("DELETE FROM event WHERE seq >= 5")
    damage("DELETE FROM node WHERE size > 5")
    run("audit", "export", "--out", "log.jsonl")
    for arguments, artefact in {
        ("audit", "verify", "--against", "kept"): "kept",
        ("audit", "verify", "--against", "w"): "w",
        ("audit", "verify"): "checkpoints/6",
        ("audit", "checkpoint"): "checkpoints/6",
        ("audit", "witness", "w"): "w",
        ("audit", "prove", "2", "--out", "p"): "checkpoints/6",
        ("audit", "check-export", "log.jsonl", "--against", "kept", "--log-key", "audits/keys/log.vkey"): "log.jsonl",
    }.items():
        done = run(*arguments)
        assert (done.code, done.out) == (INTEGRITY, ""), arguments
        assert artefact in done.err, arguments
        assert "cut off" in done.err


def test_fsck_lists_all_damage_and_is_exit_4(run: Run) -> None:
    damage("UPDATE event SET leaf = zeroblob(32) WHERE seq = 2")
    with closing(sqlite3.connect("audits/audit.db")) as connection:
        connection.execute("DROP TRIGGER event_is_never_updated")
    done = run("audit", "fsck", "--json")
    assert done.code == INTEGRITY
    named = [found["where"] for found in done.json["damage"]]
    assert ("event 2" in named, "trigger event_is_never_updated" in named) == (True, True)
    plain = run("audit", "fsck")
    assert plain.code == INTEGRITY
    assert len(plain.out.splitlines()) == len(named)


def test_a_proof_against_a_stranger_s_key_is_exit_4(run: Run) -> None:
    run("audit", "checkpoint")
    run("audit", "prove", "2", "--out", "e.proof")
    assert run("audit", "check-proof", "e.proof", "--log-key", "audits/keys/log.vkey").out.startswith("event 2, ")
    run("keys", "generate", "--log", "--out", "other.pem")
    done = run("audit", "check-proof", "e.proof", "--log-key", "other.vkey")
    assert (done.code, "e.proof" in done.err) == (INTEGRITY, True)
    Path("e.json").write_bytes(Path("e.json").read_bytes().replace(b'"x"', b'"y"'))
    done = run("audit", "check-proof", "e.proof", "--log-key", "audits/keys/log.vkey")
    assert (done.code, "not in the tree" in done.err) == (INTEGRITY, True)


@pytest.mark.parametrize(
    "command", ["checkpoint", "witness", "prove", "check-proof", "fsck", "export", "check-export", "verify", "log"]
)
def test_each_command_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["govern", "audit", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == OK
    assert "--json" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("audit", "export", "--out", "x" * 300), ExitCode.ERROR),
        (("audit", "witness", "x" * 300), ExitCode.ERROR),
        (("audit", "prove", "9" * 30, "--out", "p"), USAGE),
        (("keys", "generate", "--out", "."), USAGE),
        (("audit", "check-proof", "."), USAGE),
    ],
)
def test_what_no_file_can_be_is_no_traceback(run: Run, arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err
    assert "Traceback" not in done.err
