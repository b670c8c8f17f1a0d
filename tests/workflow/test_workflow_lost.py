"""What is lost, cut short or in use: every command says so, and none builds on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_team import Team
from typer.testing import CliRunner
from unguarded import unguarded

import govern
from govern.audit import Log
from govern.cli import app
from govern.errors import ExitCode, GovernError, IntegrityError
from govern.records import EventType
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.people.revoke import revoke
from govern.workflow.people.waive import waive
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack
from govern.workflow.publication.status import status
from govern.workflow.removal.export import export
from govern.workflow.removal.prune import find_prunable, prune
from govern.workspace import RunFolder


def waived(team: Team) -> None:
    waive(
        None,
        gate="secret/acc",
        until="2099-01-01T00:00:00Z",
        reason="For the pilot.",
        workspace=team.workspace,
        key=team.keys["max"],
    )


def revoked(team: Team) -> None:
    revoke(None, reason="Overtaken.", workspace=team.workspace, key=team.keys["lea"])


def reviewed(team: Team) -> None:
    team.decide("ada")


@pytest.mark.parametrize("sign", [reviewed, waived, revoked])
def test_a_signature_that_was_cut_short_leaves_no_gap_in_a_pack(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: Callable[[Team], None]
) -> None:
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")

    def cut(self: Log, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    # The files are there and the event is not: a kill cannot be timed to fall between the two.
    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", cut)
        with pytest.raises(KeyboardInterrupt):
            sign(team)
    audit(team.workspace)
    sign(team)
    assert pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key).checked.files > 30
    audit(team.workspace)


@pytest.mark.parametrize("look", [audit, status])
def test_a_log_that_is_gone_is_an_integrity_failure(team: Team, look: Callable[[Path], object]) -> None:
    (team.workspace / "audit.db").unlink()
    with pytest.raises(IntegrityError, match="the audit log is missing"):
        look(team.workspace)


@pytest.mark.parametrize("look", [audit, status])
def test_a_run_that_is_gone_is_an_integrity_failure(team: Team, look: Callable[[Path], object]) -> None:
    shutil.rmtree(team.run)
    with pytest.raises(IntegrityError, match="its folder is missing"):
        look(team.workspace)


@pytest.mark.parametrize("look", [audit, status])
def test_an_artefact_that_became_a_link_is_an_integrity_failure(
    team: Team, tmp_path: Path, look: Callable[[Path], object]
) -> None:
    report = team.run / "report.html"
    report.rename(tmp_path / "report.html")
    report.symlink_to(tmp_path / "report.html")
    with pytest.raises(IntegrityError, match="a link leads out"):
        look(team.workspace)


def test_an_event_that_was_taken_out_stops_every_command_that_would_not_see_it(team: Team, tmp_path: Path) -> None:
    """Without the revocation in the log, the removal would be as good as ever."""
    revoked(team)
    with Log.open(team.workspace / "audit.db", create=False) as log:
        log.append("key.generated")
    with unguarded(team.workspace / "audit.db") as connection:
        connection.execute("DELETE FROM event WHERE seq = (SELECT max(seq) - 1 FROM event)")
    with pytest.raises(IntegrityError):
        status(team.workspace)
    with pytest.raises(IntegrityError):
        export(None, tmp_path / "model", workspace=team.workspace)
    with pytest.raises(IntegrityError):
        prune(team.workspace, find_prunable(team.workspace, keep=0))
    assert (team.run / "delta.safetensors").is_file()


def test_a_run_in_use_is_neither_exported_nor_reported(team: Team, tmp_path: Path) -> None:
    with RunFolder(team.run).locked():
        with pytest.raises(GovernError, match="in use"):
            export(None, tmp_path / "model", workspace=team.workspace, key=team.keys["ian"])
        with pytest.raises(GovernError, match="in use"):
            govern.render(workspace=team.workspace)
    assert not (tmp_path / "model").exists()


def test_the_log_s_table_has_whole_ids_and_outcomes_at_80_columns(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewed(team)
    monkeypatch.setenv("COLUMNS", "80")
    printed = CliRunner().invoke(app, ["audit", "log", "--workspace", str(team.workspace)]).stdout
    told = [line.split()[3:] for line in printed.splitlines()]
    assert max(map(len, printed.splitlines())) <= 80
    assert ["apply.finished", team.run.name] in told
    assert ["review.signed", "approve", team.run.name] in told
    assert ["trust.changed", "add"] in told


def test_an_age_beyond_the_calendar_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["runs", "prune", "--older-than", "99999999999"]).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "kind", ["verify.finished", "review.signed", "waiver.granted", "removal.revoked", "run.pruned"]
)
def test_an_event_that_says_nothing_is_named(team: Team, kind: EventType) -> None:
    """Whoever holds the database can append what govern never would."""
    with Log.open(team.workspace / "audit.db", create=False, trust=team.workspace / "trust.yaml") as log:
        event = log.append(kind, run=team.run.name).event
    with pytest.raises(IntegrityError, match=f"event {event.seq}, {kind}, does not say"):
        status(team.workspace)


@pytest.mark.parametrize("name", ["trust.yaml", "trust/002/trust.yaml"])
def test_a_damaged_trust_document_is_named(team: Team, name: str) -> None:
    path = team.workspace / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(IntegrityError) as caught:
        status(team.workspace)
    assert str(path.parent if name != "trust.yaml" else path) in (caught.value.where or "")
