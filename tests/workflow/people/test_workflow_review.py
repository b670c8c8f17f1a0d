"""Reviewers decide over a report, each with their own key, and nothing of it can be undone unseen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from review_team import Team
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.errors import IntegrityError, UsageError
from govern.signing import throwaway_key
from govern.signing.reviews import SIGN_OFF
from govern.workflow.people.review import review
from govern.workflow.people.signed import read_acts
from govern.workflow.people.trust import revoke_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.status import status
from govern.workspace import RunFolder


def test_two_of_two_people_approve(team: Team) -> None:
    (before,) = status(team.workspace)
    assert before.standing is not None
    assert (before.standing.state, before.standing.missing) == ("waiting", 2)
    assert [entry.person for entry in before.standing.waits_for] == ["Ada Example", "Bob Example"]
    assert team.decide("ada") == "waiting"
    assert team.decide("bob") == "approved"
    audited = audit(team.workspace)
    assert audited.reviews == 2
    with Log.open(team.workspace / "audit.db", create=False) as log:
        last = log.head()
    assert last is not None
    assert (last.event.type, last.event.actor) == ("review.signed", team.keys["bob"].public.fingerprint)
    assert set(last.event.digests) == {"reviews/002/review.sigstore.json", "reviews/002/reviewer.pub"}
    # People's own words stay out of the log.
    assert b"Read all of it" not in last.body


def test_who_may_not_review(team: Team) -> None:
    for who, said in (("ian", "issued"), ("lea", "safety-reviewer"), ("root", "nobody vouches")):
        with pytest.raises(UsageError, match=said):
            team.decide(who)
    with pytest.raises(UsageError, match="nobody vouches"):
        review(None, decision="approve", comment="", workspace=team.workspace, key=throwaway_key())
    team.decide("ada")
    with pytest.raises(UsageError, match="approved this report before"):
        team.decide("ada")
    revoke_key(team.workspace, team.keys["bob"].public.fingerprint, root=team.keys["root"])
    with pytest.raises(UsageError, match="nobody vouches"):
        team.decide("bob")
    with pytest.raises(UsageError, match="invisible"):
        team.decide("ada", "reject", "\x1b[2J")


def test_a_rejection_blocks_for_ever(team: Team) -> None:
    team.decide("ada")
    assert team.decide("ada", "reject", "On reading it again: no.") == "rejected"
    assert team.decide("bob") == "rejected"
    with pytest.raises(UsageError, match="a rejection stands"):
        team.decide("ada")
    # Issuing the report afresh does not wash it off.
    team.reissue()
    assert team.decide("bob") == "rejected"
    audit(team.workspace)


def test_an_approval_counts_for_its_own_report_alone(team: Team) -> None:
    team.decide("ada")
    team.reissue()
    assert team.decide("bob") == "waiting"
    assert team.decide("ada") == "approved"
    assert audit(team.workspace).reviews == 3


def test_a_stolen_key_s_approval_falls_with_the_theft(team: Team) -> None:
    team.decide("ada")
    team.decide("bob")
    revoke_key(
        team.workspace, team.keys["bob"].public.fingerprint, root=team.keys["root"], since="2026-01-01T00:00:00Z"
    )
    (found,) = status(team.workspace)
    assert found.standing is not None
    assert (found.standing.state, found.standing.missing) == ("waiting", 1)


def test_every_change_to_a_sign_off_is_found(team: Team) -> None:
    team.decide("ada")
    team.decide("bob", "reject")
    for path in sorted((team.run / "reviews").rglob("*.*")):
        original = path.read_bytes()
        swapped = path.parent.with_name("001" if path.parent.name == "002" else "002") / path.name
        for data in (original[:50] + bytes([original[50] ^ 1]) + original[51:], swapped.read_bytes(), b""):
            path.write_bytes(data)
            with pytest.raises(IntegrityError, match=path.name):
                audit(team.workspace)
            with pytest.raises(IntegrityError):
                status(team.workspace)
        path.write_bytes(original)
    # Both files swapped for those of another sign-off: each pair holds in itself, but the log knows which was which.
    first, second = team.run / "reviews" / "001", team.run / "reviews" / "002"
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(IntegrityError, match="reviews/001"):
        status(team.workspace)
    with (
        Log.open(team.workspace / "audit.db", create=False) as log,
        pytest.raises(IntegrityError, match=r"001.*was changed"),
    ):
        read_acts(log, RunFolder(team.run), SIGN_OFF)


def test_a_failed_gate_cannot_be_approved(team: Team, tmp_path: Path) -> None:
    shutil.copytree(team.policy.path.parent, tmp_path / "policies")
    policy = TinyPolicy(tmp_path / "policies" / team.policy.path.name, team.workspace)
    policy.replace("{task: colour, max_drop: 0.5}", "{task: colour, floor: 0.95}")
    govern.apply(policy.path, workspace=team.workspace)
    govern.verify(workspace=team.workspace, key=team.keys["ian"])
    with pytest.raises(UsageError, match="failed gate"):
        team.decide("ada")
    assert team.decide("ada", "reject") == "rejected"


@pytest.mark.slow
def test_the_same_from_the_command_line(team: Team) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_WORKSPACE": str(team.workspace)}
    keys = team.workspace / "keys"

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    comment = ["--comment", "Read all of it."]
    assert "--approve or --reject" in run("review", "latest", *comment, code=2)
    assert "key of your own" in run("review", "latest", "--approve", *comment, code=2)
    shown = run("status")
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "Ada Example" in " ".join(shown.split())
    approved = run("review", "latest", "--approve", *comment, "--key", str(keys / "ada.pem"))
    assert "approved by Ada Example, safety-reviewer" in approved
    assert "waits for 1 of 2: Bob Example" in approved
    found = json.loads(run("review", team.run.name, "--approve", *comment, "--key", str(keys / "bob.pem"), "--json"))
    assert (found["state"], found["signoff"]["reviewer"]["person"]) == ("approved", "Bob Example")
    (entry,) = json.loads(run("status", "--json"))["runs"]
    assert (entry["state"], entry["missing"], len(entry["signoffs"])) == ("approved", 0, 2)
    assert "Read all of it." in run("status", team.run.name)
    assert run("status", "latest") == run("status", team.run.name)
    assert run("report", "open", "latest", "--print") == run("report", "open", team.run.name, "--print")
    assert json.loads(run("audit", "verify", "--json"))["reviews"] == 2


def test_a_fresh_workspace_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no workspace"):
        status(tmp_path / "audits")
    assert not (tmp_path / "audits").exists()
    assert status(tmp_path) == []
