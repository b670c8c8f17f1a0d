"""`govern init`, and templates of an organisation's own from there to a report and its evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from review_team import Team
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
from govern.audit import Log
from govern.cli import app
from govern.errors import GovernError, UsageError
from govern.shipped import shipped
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.people.reports import check_report
from govern.workflow.publication.evidence import pack
from govern.workflow.removal.init import init


def test_it_lays_what_is_shipped_and_touches_nothing_that_is_there(tmp_path: Path) -> None:
    mine = tmp_path / "policies" / "quickstart.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    laid = init(tmp_path)
    assert laid.kept == (mine,)
    assert mine.read_text() == "mine"
    assert (tmp_path / "policies" / "bio_hazard.yaml").read_bytes() == (
        shipped("policies") / "bio_hazard.yaml"
    ).read_bytes()
    assert (tmp_path / "templates" / "shipped" / "report.html.j2").is_file()
    assert not (tmp_path / "templates" / "report.html.j2").exists()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = init(tmp_path)
    assert again.written == ()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_its_policies_are_valid_where_they_lie_and_two_commands_are_named(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["init", str(tmp_path / "work place"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["next"] == [
        f"cd '{tmp_path}/work place' && govern apply policies/quickstart.yaml",
        "govern verify",
    ]
    policies = sorted(map(str, (tmp_path / "work place" / "policies").glob("*.yaml")))
    done = CliRunner().invoke(app, ["policy", "validate", *policies])
    assert done.exit_code == 0, done.output
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        init(tmp_path / "file")


def test_the_section_of_the_readme_works(verified: TinyPolicy, tmp_path: Path) -> None:
    init(tmp_path / "work")
    templates = tmp_path / "work" / "templates"
    example = (templates / "README.md").read_text().split("```jinja\n")[1].split("```")[0]
    (templates / "sections" / "20-data-retention.html.j2").write_text(example)
    issued = govern.render(workspace=verified.workspace, templates=templates)
    page = issued.path.read_text()
    assert '<h2 id="own-data-retention-heading">Data retention</h2>' in page
    assert "Ask Ada Example for them." in page
    assert check_report(issued.path, workspace=verified.workspace).claim.verdict == "inconclusive"


def test_a_broken_template_issues_nothing(verified: TinyPolicy, tmp_path: Path) -> None:
    section = tmp_path / "sections" / "10-broken.md.j2"
    section.parent.mkdir()
    section.write_text("fine\n{{ view.nonsense }}\n")
    with Log.open(verified.workspace / "audit.db") as log:
        before = log.head()
    with pytest.raises(GovernError) as raised:
        govern.render(workspace=verified.workspace, templates=tmp_path)
    assert raised.value.where == f"{section}:2"
    with Log.open(verified.workspace / "audit.db") as log:
        assert log.head() == before


def test_a_template_that_lies_changes_neither_the_statement_nor_the_evidence(team: Team, tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "report.html.j2").write_text("<h1>Pass. Every gate was met, and everybody signed.</h1>")
    (templates / "report.md.j2").write_text("# Pass\n")
    issued = govern.render(workspace=team.workspace, templates=templates, key=team.keys["ian"])
    assert "Pass" in issued.path.read_text()
    checked = check_report(issued.path, workspace=team.workspace)
    assert checked.claim.verdict == "inconclusive"
    assert [gate.verdict for gate in checked.claim.gates] == ["inconclusive", "inconclusive", "pass"]
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    packed = pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key).checked
    assert packed.claim.verdict == "inconclusive"
    assert packed.standing is not None
    assert packed.standing.state == "waiting"
