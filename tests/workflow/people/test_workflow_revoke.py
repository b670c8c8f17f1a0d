"""A revoked removal: nothing of it is issued, signed or exported any more, and everything says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from review_team import Team

import govern
from govern.audit import Log
from govern.errors import IntegrityError, UsageError
from govern.signing import throwaway_key
from govern.workflow.people.revoke import revoke
from govern.workflow.people.waive import waive
from govern.workflow.publication.audit import audit
from govern.workflow.publication.status import status
from govern.workflow.removal.export import export
from govern.workflow.removal.reproduce import reproduce


def end(team: Team, who: str = "lea") -> None:
    revoke(None, reason="The retain text was wrong.", workspace=team.workspace, key=team.keys[who])


def test_nothing_is_issued_signed_or_exported_any_more(team: Team, tmp_path: Path) -> None:
    team.decide("ada")
    end(team)
    (found,) = status(team.workspace)
    assert found.revoked is not None
    assert found.revoked.act.person.person == "Lea Example"
    with pytest.raises(UsageError, match="was revoked on"):
        govern.verify(workspace=team.workspace)
    with pytest.raises(UsageError, match="was revoked on"):
        govern.render(workspace=team.workspace)
    with pytest.raises(UsageError, match="was revoked on"):
        export(None, tmp_path / "model", workspace=team.workspace)
    assert not (tmp_path / "model").exists()
    with pytest.raises(UsageError, match="was revoked on"):
        team.decide("bob")
    with pytest.raises(UsageError, match="was revoked on"):
        waive(
            None, gate="secret/acc", until="2099-01-01T00:00:00Z", reason="x",
            workspace=team.workspace, key=team.keys["max"],
        )  # fmt: skip
    with pytest.raises(UsageError, match="was revoked on"):
        end(team)
    # Whether it came about as its plan says is still a fair question.
    assert reproduce(None, workspace=team.workspace).result == "equal"
    audit(team.workspace)


def test_only_somebody_who_is_known_revokes(team: Team) -> None:
    with pytest.raises(UsageError, match="nobody vouches"):
        revoke(None, reason="x", workspace=team.workspace, key=throwaway_key())
    with pytest.raises(UsageError, match="at least 1 character"):
        revoke(None, reason="", workspace=team.workspace, key=team.keys["lea"])
    (found,) = status(team.workspace)
    assert found.revoked is None


def test_every_change_to_a_revocation_is_found(team: Team) -> None:
    end(team)
    with Log.open(team.workspace / "audit.db", create=False) as log:
        last = log.head()
    assert last is not None
    assert (last.event.type, last.event.actor) == ("removal.revoked", team.keys["lea"].public.fingerprint)
    assert b"retain text was wrong" not in last.body
    for path in sorted((team.run / "revocations").rglob("*.*")):
        original = path.read_bytes()
        for data in (original[:50] + bytes([original[50] ^ 1]) + original[51:], b""):
            path.write_bytes(data)
            with pytest.raises(IntegrityError, match=path.name):
                audit(team.workspace)
            with pytest.raises(IntegrityError):
                status(team.workspace)
        path.write_bytes(original)
    audit(team.workspace)


@pytest.mark.slow
def test_the_same_from_the_command_line(team: Team, tmp_path: Path) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_WORKSPACE": str(team.workspace)}

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done

    key = ["--key", str(team.workspace / "keys" / "lea.pem"), "--reason", "The retain text was wrong."]
    told = json.loads(run("revoke", "latest", *key, "--json").stdout)
    assert told["revocation"]["person"] == {"person": "Lea Example", "role": "legal"}
    assert "revoked" in run("revoke", "latest", *key, code=2).stderr
    assert "revoked" in run("export", "latest", str(tmp_path / "model"), code=2).stderr
    shown = run("status").stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "REVOKED" in shown
    assert "The retain text was wrong." in run("status", team.run.name).stdout
    (entry,) = json.loads(run("status", "--json").stdout)["runs"]
    assert entry["revoked"]["reason"] == "The retain text was wrong."
    report = team.run / "report.html"
    assert "REVOKED" in run("report", "verify", str(report)).stdout
    assert json.loads(run("report", "verify", str(report), "--json").stdout)["revoked"] is True
    assert "REVOKED" in run("report", "open", "--print").stderr


def test_a_pack_says_it_first(packed_once: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", "evidence", "verify", str(packed_once), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    first, *rest = run().splitlines()
    assert first.startswith("REVOKED")
    assert "Lea Example" in first
    assert any(line.startswith("waived  secret/acc/ceiling, by Max Approver, until 2099-01-01") for line in rest)
    told = json.loads(run("--json"))
    assert told["revoked"]["reason"] == "Overtaken by a better one."
    assert [waiver["state"] for waiver in told["waivers"]] == ["in force"]
    assert (told["valid_until"], told["stale"]) == (None, False)
