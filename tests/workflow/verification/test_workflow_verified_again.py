"""A verification is repeated, its history is told, and after its time it is stale."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.corpora import read_tokens
from govern.errors import IntegrityError, PolicyError, PolicyErrors
from govern.evidence import verify_pack
from govern.policy import load_policy
from govern.records import Plan
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack
from govern.workflow.publication.status import RunStatus, status
from govern.workflow.runs import verifications


def only(policy: TinyPolicy) -> RunStatus:
    (found,) = status(policy.workspace)
    return found


def test_the_history_is_in_status_and_in_the_report(verified: TinyPolicy) -> None:
    first = only(verified)
    assert [(past.verdict, past.attempt) for past in first.verifications] == [("inconclusive", 1)]
    assert (first.valid_until, first.stale) == (None, False)
    again = govern.verify(workspace=verified.workspace)
    found = only(verified).verifications
    assert [past.attempt for past in found] == [1, 2]
    assert found[0] == first.verifications[0]
    assert found[0].time < found[1].time
    assert found[1].govern == govern.__version__
    assert found[1].harness.startswith("0.")
    for name in ("report.md", "report.html"):
        page = again.run.path(name).read_text()
        assert "Every verification of this run" in page
        assert "Every verification of this run" not in again.run.path(f"reports/001/{name}").read_text()
        table = page.partition("Every verification of this run")[2]
        assert found[1].harness in table
        # Both may have ended within the one second that the page shows: the second row follows the first.
        _, time, after = table.partition(found[0].time[11:19])
        assert time
        assert found[1].time[11:19] in after


def test_another_seed_reads_other_held_back_text_and_says_so(verified: TinyPolicy) -> None:
    again = govern.verify(workspace=verified.workspace, seed=77)
    assert again.verdict.held_back_seed == 77
    with Log.open(verified.workspace / "audit.db", create=False) as log:
        first, second = (stored.event for stored in log.events(type="verify.finished"))
    (text,) = [name for name in second.digests if name.endswith(".safetensors")]
    assert text == "verifications/002/perplexity-0.safetensors"
    assert (
        read_tokens(again.run.read(text)).digest
        != read_tokens(again.run.read("inputs/perplexity-0.safetensors")).digest
    )
    assert not [name for name in first.digests if name.endswith(".safetensors")]
    assert "Held-back text sampled anew, seed" in again.run.path("report.html").read_text()
    assert "held_back_seed" not in json.loads(again.run.read("verifications/001/verdict.json"))
    audit(verified.workspace)
    again.run.path(text).write_bytes(b"x")
    with pytest.raises(IntegrityError, match="perplexity-0"):
        audit(verified.workspace)


def test_a_seed_that_the_removal_was_trained_on_is_refused(verified: TinyPolicy) -> None:
    with pytest.raises(PolicyError, match="training text as well"):
        govern.verify(workspace=verified.workspace, seed=1)


def aged(policy: TinyPolicy, days: int) -> TinyPolicy:
    return policy.replace("verification:\n", f"verification:\n  valid_days: {days}\n")


def test_after_its_days_a_run_is_stale(
    tiny_policy: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(tiny_policy, 30)
    applied = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    assert applied.plan.valid_days == 30
    govern.verify(workspace=tiny_policy.workspace)
    found = only(tiny_policy)
    assert found.valid_until is not None
    assert not found.stale
    verified = datetime.fromisoformat(found.verifications[0].time)
    assert datetime.fromisoformat(found.valid_until) == (verified + timedelta(days=30)).replace(microsecond=0)
    assert found.valid_until[:10] in applied.run.path("report.md").read_text()

    key = make_log_key(tiny_policy.workspace, log_key_path(tiny_policy.workspace), b"password")
    checked = pack(None, tmp_path / "pack", workspace=tiny_policy.workspace, log_key=key).checked
    assert (checked.valid_until, checked.stale) == (found.valid_until, False)
    assert verify_pack(tmp_path / "pack", now=found.valid_until).stale

    # A mock in place of waiting for 31 days.
    monkeypatch.setattr("govern.workflow.publication.status.now", lambda: "2999-01-01T00:00:00Z")
    assert only(tiny_policy).stale
    monkeypatch.undo()
    shown = said(tiny_policy, "status", tiny_policy_run(tiny_policy))
    assert f"to be verified again after {found.valid_until[:10]}" in shown


def test_the_command_line_says_stale(
    tiny_policy: TinyPolicy, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log whose verification is old. Its event is written by hand, since no command takes back the clock."""
    aged(tiny_policy, 1)
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    govern.verify(workspace=tiny_policy.workspace)
    monkeypatch.setattr("govern.workflow.publication.status.now", lambda: "2999-01-01T00:00:00Z")
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> str:
        done = command(*arguments, "--workspace", tiny_policy.workspace)
        assert done.code == 0, done.err
        return str(done.out)

    (entry,) = json.loads(run("status", "--json"))["runs"]
    assert entry["stale"] is True
    assert len(entry["verifications"]) == 1
    lines = run("status").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert f"STALE since {entry['valid_until'][:10]}: govern verify" in " ".join(" ".join(lines).split())


def tiny_policy_run(policy: TinyPolicy) -> str:
    return next((policy.workspace / "runs").iterdir()).name


def said(policy: TinyPolicy, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "govern", *arguments, "--workspace", str(policy.workspace)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "soon", "40000"])
def test_days_are_whole_and_positive(tiny_policy: TinyPolicy, days: str) -> None:
    tiny_policy.replace("verification:\n", f"verification:\n  valid_days: {days}\n")
    with pytest.raises(PolicyErrors) as caught:
        load_policy(tiny_policy.path)
    line = tiny_policy.path.read_text().splitlines().index(f"  valid_days: {days}") + 1
    assert caught.value.findings[0].where == f"{tiny_policy.path}:{line}:15"


def test_without_days_nothing_of_policy_or_plan_changes(verified: TinyPolicy) -> None:
    """What was approved or recorded before the field was there keeps its digest."""
    policy = load_policy(verified.path).policy
    assert "valid_days" not in policy.model_dump(mode="json")["verification"]
    run = next((verified.workspace / "runs").iterdir())
    data = (run / "plan.json").read_bytes()
    assert b"valid_days" not in data
    assert Plan.parse(data).canonical() == data
    with Log.open(verified.workspace / "audit.db", create=False) as log:
        assert len(verifications([stored.event for stored in log.events()], until=3)) == 0


@given(days=st.integers(1, 36500), verified=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_the_end_is_so_many_days_later(plan_once: Plan, days: int, verified: datetime) -> None:
    until = plan_once.model_copy(update={"valid_days": days}).valid_until(f"{verified.isoformat()}Z")
    assert until is not None
    assert datetime.fromisoformat(until[:-1]) == verified.replace(microsecond=0) + timedelta(days=days)


@pytest.fixture(scope="module")
def plan_once(verified_once: Any) -> Plan:
    return Plan.parse((next((verified_once.workspace / "runs").iterdir()) / "plan.json").read_bytes())
