"""Weights go, evidence stays, and the log knows that they lawfully went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from review_team import Team
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.errors import GovernError, IntegrityError, UsageError
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack
from govern.workflow.publication.status import status
from govern.workflow.removal.export import export
from govern.workflow.removal.prune import find_prunable, prune
from govern.workflow.removal.reproduce import reproduce
from govern.workspace import RunFolder

WEIGHTS = ["delta.safetensors", "inputs/perplexity-0.safetensors", "inputs/retain-1.safetensors"]


def run_of(workspace: Path) -> Path:
    return next((workspace / "runs").iterdir())


def test_evidence_stays(team: Team, tmp_path: Path) -> None:
    (entry,) = find_prunable(team.workspace, [team.run.name])
    assert sorted(entry.dropped) == WEIGHTS
    assert entry.bytes == sum((team.run / name).stat().st_size for name in WEIGHTS)
    kept = {path: path.read_bytes() for path in team.run.rglob("*") if path.is_file() and path.suffix != ".safetensors"}
    prune(team.workspace, [entry])
    assert not list(team.run.rglob("*.safetensors"))
    assert not (team.run / "inputs").exists()
    assert {path: path.read_bytes() for path in kept} == kept
    with Log.open(team.workspace / "audit.db", create=False) as log:
        last = log.head()
    assert last is not None
    assert (last.event.type, last.event.run, last.event.parameters["dropped"]) == (
        "run.pruned", team.run.name, entry.dropped,
    )  # fmt: skip
    audit(team.workspace)
    (found,) = status(team.workspace)
    assert found.pruned == last.event.time[:10]
    # Sign-off and evidence go on.
    team.decide("ada")
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    assert pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key).checked.files > 10
    with pytest.raises(UsageError, match="were pruned on"):
        govern.verify(workspace=team.workspace)
    with pytest.raises(UsageError, match="were pruned on"):
        export(None, tmp_path / "model", workspace=team.workspace)
    # Whether the removal comes out of its plan is seen from the digest alone.
    assert reproduce(None, workspace=team.workspace).result == "equal"
    assert find_prunable(team.workspace, [team.run.name]) == []


def test_a_pruned_run_that_comes_out_otherwise_cannot_be_compared(
    verified: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock in place of a machine that computes other bits."""
    prune(verified.workspace, find_prunable(verified.workspace, keep=0))
    monkeypatch.setattr("govern.workflow.removal.reproduce.write_delta", lambda *_, **__: "f" * 64)
    with pytest.raises(GovernError, match="nobody can say how far"):
        reproduce(None, workspace=verified.workspace)


def test_what_a_killed_command_left_goes_too(verified: TinyPolicy) -> None:
    run = run_of(verified.workspace)
    for name in ("checkpoint", "measuring", "attacking"):
        (run / name).mkdir(exist_ok=True)
        (run / name / "state").write_bytes(b"12345")
    (entry,) = find_prunable(verified.workspace, [run.name])
    assert entry.bytes == sum((run / name).stat().st_size for name in WEIGHTS) + 15
    prune(verified.workspace, [entry])
    assert not {path.name for path in run.iterdir()} & {"checkpoint", "measuring", "attacking"}


def test_a_file_that_went_without_the_log_is_still_missed(verified: TinyPolicy) -> None:
    run = run_of(verified.workspace)
    prune(verified.workspace, find_prunable(verified.workspace, keep=0))
    audit(verified.workspace)
    (run / "plan.json").unlink()
    with pytest.raises(IntegrityError, match=r"plan\.json is missing"):
        audit(verified.workspace)


def test_weights_that_were_changed_are_not_swept_under_the_carpet(verified: TinyPolicy) -> None:
    delta = run_of(verified.workspace) / "delta.safetensors"
    found = find_prunable(verified.workspace, keep=0)
    delta.write_bytes(delta.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=r"delta\.safetensors"):
        prune(verified.workspace, found)
    assert delta.exists()


def test_a_killed_prune_is_finished_by_the_next(verified: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(verified.workspace)
    with monkeypatch.context() as patch:
        # A mock in place of a kill between the event and the first file.
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prune(verified.workspace, find_prunable(verified.workspace, keep=0))
    assert (run / "delta.safetensors").exists()
    audit(verified.workspace)
    (rest,) = find_prunable(verified.workspace, keep=0)
    assert rest.dropped == {}
    prune(verified.workspace, [rest])
    assert not (run / "delta.safetensors").exists()
    with Log.open(verified.workspace / "audit.db", create=False) as log:
        assert sum(stored.event.type == "run.pruned" for stored in log.events()) == 1


def test_which_runs(verified: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = (run.name for run in (verified.workspace / "runs").iterdir())
    second = govern.apply(verified.path, workspace=verified.workspace).run.id

    def chosen(**rule: int) -> list[str]:
        return [entry.run.id for entry in find_prunable(verified.workspace, **rule)]

    assert chosen(keep=0) == [first, second]
    assert chosen(keep=1) == [first]
    assert chosen(keep=5) == []
    assert chosen(older_than=0) == [first, second]
    assert chosen(older_than=1) == []
    assert chosen(keep=1, older_than=1) == []
    with pytest.raises(UsageError, match="say which runs"):
        find_prunable(verified.workspace)
    with pytest.raises(UsageError, match="no run"):
        find_prunable(verified.workspace, ["nothing"])


def test_a_run_that_is_unfinished_or_in_use_is_left_alone(
    verified: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(run_of(verified.workspace))
    found = find_prunable(verified.workspace, keep=0)
    with run.locked(), pytest.raises(GovernError, match="in use"):
        prune(verified.workspace, found)
    assert run.path("delta.safetensors").exists()

    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # A mock in place of a kill in the middle of a removal.
        patch.setattr("govern.workflow.removal.apply.remove", stop)
        with pytest.raises(GovernError, match="interrupted"):
            govern.apply(verified.path, workspace=verified.workspace)
    unfinished = max(path.name for path in (verified.workspace / "runs").iterdir())
    assert unfinished != run.id
    assert [entry.run.id for entry in find_prunable(verified.workspace, keep=0)] == [run.id]
    with pytest.raises(UsageError, match="not finished"):
        find_prunable(verified.workspace, [unfinished])


def test_the_command_shows_first_and_drops_when_told(verified: TinyPolicy) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", "runs", "prune", *arguments, "--workspace", str(verified.workspace)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    delta = run_of(verified.workspace) / "delta.safetensors"
    assert "say which runs" in run(code=2)
    assert "not both" in run(delta.parent.name, "--keep", "1", code=2)
    assert "would go" in run("--keep", "0")
    assert "--yes" in run("--keep", "0", "--no-input", code=2)
    assert json.loads(run("--keep", "0", "--json"))["pruned"] is False
    assert delta.exists()
    told = json.loads(run("--keep", "0", "--yes", "--no-input", "--json"))
    assert told["pruned"] is True
    assert sorted(told["runs"][0]["dropped"]) == WEIGHTS
    assert not delta.exists()
    audit(verified.workspace)
