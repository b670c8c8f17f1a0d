"""An approver's exception stands beside a verdict, for a time, and never in its place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_team import Team

import govern
from govern.audit import Log
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.records import AuditPosition, GateName, Reviewer, Trust, TrustEntry, Waiver
from govern.reporting.render import render_html
from govern.reporting.view import build_view
from govern.signing import AttackClaim, GateClaim, throwaway_key
from govern.signing.acts import Signed
from govern.signing.waivers import WAIVER, waiver_state
from govern.workflow.people.signed import read_acts
from govern.workflow.people.trust import revoke_key
from govern.workflow.people.waive import find_gate, waive
from govern.workflow.publication.audit import audit
from govern.workflow.publication.exports import reported, write_export
from govern.workflow.publication.status import RunStatus, status
from govern.workspace import RunFolder

UNTIL = "2099-01-01T00:00:00Z"


def grant(team: Team, who: str = "max", gate: str = "secret/acc", until: str = UNTIL) -> Path:
    return waive(
        None, gate=gate, until=until, reason="Needed for the pilot.", workspace=team.workspace, key=team.keys[who]
    ).path


def standing(team: Team) -> RunStatus:
    (found,) = status(team.workspace)
    return found


def test_a_waiver_stands_beside_the_verdict(team: Team) -> None:
    before = standing(team)
    grant(team)
    after = standing(team)
    [(waived, state)] = after.waivers
    assert state == "in force"
    assert str(waived.act.gate) == "secret/acc/ceiling"
    assert (waived.act.verdict, waived.act.approver.person) == ("inconclusive", "Max Approver")
    assert (after.verdict, after.standing) == (before.verdict, before.standing)
    with Log.open(team.workspace / "audit.db", create=False) as log:
        last = log.head()
    assert last is not None
    assert (last.event.type, last.event.actor) == ("waiver.granted", team.keys["max"].public.fingerprint)
    assert set(last.event.digests) == {"waivers/001/waiver.sigstore.json", "waivers/001/approver.pub"}
    # People's own words stay out of the log.
    assert b"Needed for the pilot" not in last.body
    audit(team.workspace)


def test_who_may_not_waive_and_what(team: Team) -> None:
    for who, said in (("ada", "role approver"), ("ian", "role approver"), ("root", "nobody vouches")):
        with pytest.raises(UsageError, match=said):
            grant(team, who)
    with pytest.raises(UsageError, match="nobody vouches"):
        waive(None, gate="secret/acc", until=UNTIL, reason="x", workspace=team.workspace, key=throwaway_key())
    with pytest.raises(UsageError, match="end before it begins"):
        grant(team, until="2020-01-01T00:00:00Z")
    with pytest.raises(UsageError, match="there is no gate secrets/acc") as caught:
        grant(team, gate="secrets/acc")
    assert "secret/acc/ceiling" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="at least 1 character"):
        waive(None, gate="secret/acc", until=UNTIL, reason=" ", workspace=team.workspace, key=team.keys["max"])
    revoke_key(team.workspace, team.keys["max"].public.fingerprint, root=team.keys["root"])
    with pytest.raises(UsageError, match="nobody vouches"):
        grant(team)
    assert standing(team).waivers == ()


def test_who_issued_the_report_cannot_waive_its_gates(team: Team) -> None:
    govern.render(workspace=team.workspace, key=team.keys["max"])
    with pytest.raises(UsageError, match="cannot waive its gates"):
        grant(team)


def test_a_waiver_is_for_its_own_report_alone(team: Team) -> None:
    grant(team)
    team.reissue()
    assert [state for _, state in standing(team).waivers] == ["for another report"]
    grant(team)
    assert [state for _, state in standing(team).waivers] == ["for another report", "in force"]
    audit(team.workspace)


def test_the_next_report_lists_it_and_an_export_suppresses_by_it_only_while_it_is_in_force(team: Team) -> None:
    report = team.run / "report.html"
    before = report.read_bytes()
    grant(team)
    assert report.read_bytes() == before
    found = reported(None, workspace=team.workspace)
    assert found.document.report.waivers == ()
    (path,) = write_export(found, "sarif", team.workspace.parent / "gates.sarif")
    waived = [result for result in json.loads(path.read_text())["runs"][0]["results"] if "suppressions" in result]
    assert [(result["ruleId"], result["kind"]) for result in waived] == [("ceiling", "open")]
    team.reissue()
    again = reported(None, workspace=team.workspace)
    (waiver,) = again.document.report.waivers
    assert (waiver.approver.person, waiver.report) == ("Max Approver", sha256_bytes(before))
    page = report.read_text()
    assert "Needed for the pilot." in page
    assert render_html(build_view(again.document)).data.count(b"/report/waivers/0/") == page.count("/report/waivers/0/")
    # The waiver was for the earlier report, so nothing of the new one is waived.
    assert again.waivers == ()


def test_a_stolen_key_s_waiver_falls_with_the_theft(team: Team) -> None:
    grant(team)
    revoke_key(
        team.workspace, team.keys["max"].public.fingerprint, root=team.keys["root"], since="2026-01-01T00:00:00Z"
    )
    assert [state for _, state in standing(team).waivers] == ["void"]


def test_every_change_to_a_waiver_is_found(team: Team) -> None:
    grant(team)
    grant(team, until="2098-01-01T00:00:00Z")
    for path in sorted((team.run / "waivers").rglob("*.*")):
        original = path.read_bytes()
        for data in (original[:50] + bytes([original[50] ^ 1]) + original[51:], b""):
            path.write_bytes(data)
            with pytest.raises(IntegrityError, match=path.name):
                audit(team.workspace)
            with pytest.raises(IntegrityError):
                status(team.workspace)
        path.write_bytes(original)
    first, second = team.run / "waivers" / "001", team.run / "waivers" / "002"
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with (
        Log.open(team.workspace / "audit.db", create=False) as log,
        pytest.raises(IntegrityError, match=r"001.*was changed"),
    ):
        read_acts(log, RunFolder(team.run), WAIVER)


def claim(task: str, kind: str, verdict: str = "fail") -> GateClaim:
    return GateClaim.model_validate(
        {"task": task, "metric": "acc", "kind": kind, "after": 0, "bound": 0, "threshold": 0, "verdict": verdict}
    )


def attack_claim(name: str, verdict: str = "fail") -> AttackClaim:
    return AttackClaim.model_validate(
        {"task": "a", "name": name, "recovered": None, "bound": None, "max_recovery": 0.1, "verdict": verdict}
    )


def test_attacks_with_a_limit_are_found_by_name() -> None:
    lens, format_ = attack_claim("logit lens"), attack_claim("format: letters", "pass")
    gates = (claim("a", "ceiling"), lens, format_)
    assert find_gate(gates, "a/recovery/logit lens") is lens
    assert find_gate(gates[:2], "a/recovery") is lens
    with pytest.raises(UsageError, match="2 gates are called a/recovery"):
        find_gate(gates, "a/recovery")
    with pytest.raises(UsageError, match="was passed"):
        find_gate(gates, "a/recovery/format: letters")
    with pytest.raises(UsageError, match="2 gates"):
        find_gate((lens, lens), "a/recovery/logit lens")


def test_a_gate_that_is_no_attack_keeps_its_name_in_the_log() -> None:
    assert "attack" not in GateName(task="t", metric="acc", kind="floor").to_json()


def test_gates_are_found_by_name() -> None:
    gates = (
        claim("a", "floor"),
        claim("a", "max_drop"),
        claim("b", "ceiling", "pass"),
        claim("held-back file:x/y", "floor"),
    )
    assert find_gate(gates, "a/acc/floor").kind == "floor"
    assert find_gate(gates, "held-back file:x/y/acc").kind == "floor"
    with pytest.raises(UsageError, match="2 gates are called a/acc"):
        find_gate(gates, "a/acc")
    with pytest.raises(UsageError, match="was passed"):
        find_gate(gates, "b/acc")
    with pytest.raises(UsageError, match="no gate"):
        find_gate(gates, "acc")


SECONDS = st.integers(0, 4_000_000_000)


@given(signed=SECONDS, until=SECONDS, now=SECONDS)
def test_a_waiver_ends_when_it_says(signed: int, until: int, now: int) -> None:
    """Over whole seconds as numbers, against their text forms."""

    def text(seconds: int) -> str:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    if until <= signed:
        return
    key, report, zero = "a" * 64, "b" * 64, "1970-01-01T00:00:00Z"
    entry = TrustEntry(fingerprint=key, person="Max", role="approver", valid_from=zero, valid_to=None, revoked_at=None)
    trust = Trust(serial=1, previous=None, issued=zero, root="c" * 64, keys=(entry,))
    waiver = Waiver(
        run="r",
        report=report,
        gate=GateName(task="t", metric="acc", kind="floor"),
        verdict="fail",
        until=text(until),
        reason="because",
        approver=Reviewer(person="Max", role="approver"),
        audit=AuditPosition(origin="o", seq=0, leaf="d" * 64),
        time=text(signed),
    )
    state = waiver_state(Signed(waiver, key, text(signed)), report=report, issuer="e" * 64, trust=trust, now=text(now))
    assert state == ("in force" if now < until else "expired")


@pytest.mark.slow
def test_the_same_from_the_command_line(team: Team) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_WORKSPACE": str(team.workspace)}
    key = ["--key", str(team.workspace / "keys" / "max.pem"), "--reason", "Needed for the pilot."]

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

    wanted = ["waive", "latest", "--gate", "secret/acc"]
    assert "no day" in run(*wanted, "--until", "soon", *key, code=2)
    shown = run(*wanted, "--until", "2099-01-01", *key)
    assert "the verdict of the gate stays inconclusive" in shown
    told = json.loads(run(*wanted, "--until", "2099-01-02", *key, "--json"))["waiver"]
    assert told["until"] == "2099-01-02T00:00:00Z"
    (entry,) = json.loads(run("status", "--json"))["runs"]
    assert [waiver["state"] for waiver in entry["waivers"]] == ["in force", "in force"]
    assert entry["verdict"] == "inconclusive"
    lines = run("status").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "secret/acc/ceiling waived, until 2099-01-01" in " ".join(" ".join(lines).split())
    assert "Needed for the pilot." in run("status", team.run.name)
