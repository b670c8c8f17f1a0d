"""`govern site`: signed, whole, in the log, and every change of it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from review_team import Team
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
from govern.audit import Log
from govern.cli import app
from govern.errors import GovernError, IntegrityError, UsageError
from govern.signing import parse_statement, sign, throwaway_key, verify
from govern.signing.site import SITE_PREDICATE
from govern.workflow.people.revoke import revoke
from govern.workflow.people.waive import waive
from govern.workflow.publication.audit import audit
from govern.workflow.publication.site import SIGNATURE, check_site, publish_site


@pytest.fixture
def site(team: Team, tmp_path: Path) -> Path:
    team.decide("ada", comment="Read it all.")
    publish_site(tmp_path / "site", workspace=team.workspace, key=team.keys["ian"])
    return tmp_path / "site"


def test_a_site_shows_runs_and_sign_offs_and_checks(team: Team, site: Path) -> None:
    checked = check_site(site, workspace=team.workspace)
    (run,) = checked.claim.runs
    assert (checked.signer, run.run, run.state) == ("Ian Issuer", team.run.name, "waiting")
    page = (site / "runs" / run.run / "index.html").read_text()
    assert "Waits for 1 of 2: Bob Example" in page
    assert "Read it all." in page
    assert (site / "runs" / run.run / "report.html").read_bytes() == (team.run / "report.html").read_bytes()
    with Log.open(team.workspace / "audit.db") as log:
        head = log.head()
        assert head is not None
        assert head.event.type == "site.published"
        assert head.event.parameters["runs"] == 1
        assert head.event.seq == checked.claim.audit.seq + 1
    assert audit(team.workspace).head.size == head.event.seq + 1


def test_the_command_writes_and_checks(team: Team, tmp_path: Path) -> None:
    folder = str(tmp_path / "pages")
    told = ["--workspace", str(team.workspace), "--json"]
    done = CliRunner().invoke(app, ["site", "--out", folder, *told])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["throwaway_key"]
    shown = json.loads(CliRunner().invoke(app, ["site", "--check", folder, *told]).stdout)
    assert shown["valid"]
    assert [run["state"] for run in shown["runs"]] == ["waiting"]
    plain = CliRunner().invoke(app, ["site", "--check", folder, *told[:2]])
    assert "throw-away" in plain.stdout
    assert all(len(line) <= 80 or folder in line or "sha256" in line for line in plain.stdout.splitlines())


def test_every_changed_file_is_named(team: Team, site: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    assert len(names) > 12
    for name in names:
        copy = tmp_path / "copy"
        shutil.copytree(site, copy)
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(IntegrityError) as raised:
            check_site(copy, workspace=team.workspace)
        assert name in SIGNATURE or raised.value.where == name
        (copy / name).unlink()
        with pytest.raises(GovernError):
            check_site(copy, workspace=team.workspace)
        shutil.rmtree(copy)
    (site / "extra.html").write_text("<p>approved</p>")
    with pytest.raises(IntegrityError, match="not of the site") as raised:
        check_site(site, workspace=team.workspace)
    assert raised.value.where == "extra.html"
    (site / "extra.html").unlink()
    (site / "link.html").symlink_to(site / "index.html")
    with pytest.raises(IntegrityError, match="link"):
        check_site(site, workspace=team.workspace)


def test_another_key_or_another_statement_is_refused(team: Team, site: Path) -> None:
    stranger = throwaway_key()
    payload = verify((site / "site.sigstore.json").read_bytes(), team.keys["ian"].public)
    (site / "site.sigstore.json").write_bytes(sign(payload, stranger))
    (site / "signer.pub").write_bytes(stranger.public.pem)
    with pytest.raises(IntegrityError, match="another one signed it"):
        check_site(site, workspace=team.workspace)
    # A report's statement is no site's, whoever signed it.
    report = site / "runs" / team.run.name
    (site / "site.json").write_bytes((report / "statement.json").read_bytes())
    (site / "site.sigstore.json").write_bytes((report / "report.sigstore.json").read_bytes())
    (site / "signer.pub").write_bytes((report / "signer.pub").read_bytes())
    with pytest.raises(IntegrityError, match="not about a site"):
        check_site(site, workspace=team.workspace)


def test_a_template_that_lies_does_not_change_what_is_signed(team: Team, tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "site.html.j2").write_text("<h1>Everything passed and was approved</h1>")
    publish_site(tmp_path / "site", workspace=team.workspace, key=team.keys["ian"], templates=templates)
    claim = check_site(tmp_path / "site", workspace=team.workspace).claim
    assert (claim.runs[0].verdict, claim.runs[0].state) == ("inconclusive", "waiting")
    statement = parse_statement((tmp_path / "site" / "site.json").read_bytes())
    assert statement.predicate_type == SITE_PREDICATE


def test_a_site_replaces_a_site_and_nothing_else(team: Team, site: Path, tmp_path: Path) -> None:
    (site / "index.html").write_text("changed")
    publish_site(site, workspace=team.workspace, key=None)
    assert check_site(site, workspace=team.workspace).claim.signer.kind == "throwaway"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".site")] == []
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="only to a new folder"):
        publish_site(other, workspace=team.workspace, key=None)
    assert (other / "thesis.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="no site here"):
        check_site(other, workspace=team.workspace)


def test_waivers_and_revocations_are_on_it(team: Team, tmp_path: Path) -> None:
    waive(
        None, gate="secret/acc", until="2099-01-01T00:00:00Z", reason="Needed for the pilot.",
        workspace=team.workspace, key=team.keys["max"],
    )  # fmt: skip
    publish_site(tmp_path / "site", workspace=team.workspace, key=None)
    page = tmp_path / "site" / "runs" / team.run.name / "index.html"
    assert "secret/acc/ceiling waived until 2099-01-01 by" in page.read_text()
    assert check_site(tmp_path / "site", workspace=team.workspace).claim.runs[0].state == "waiting"
    revoke(None, reason="The retain text was wrong.", workspace=team.workspace, key=team.keys["lea"])
    publish_site(tmp_path / "site", workspace=team.workspace, key=None)
    assert "Do not rely on this removal: The retain text was wrong." in page.read_text()
    assert check_site(tmp_path / "site", workspace=team.workspace).claim.runs[0].state == "revoked"
    assert not list((tmp_path / "site" / "by").glob("waits-for-*"))


def test_runs_without_a_verdict_are_on_it(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    with pytest.raises(GovernError):
        govern.apply(tiny_policy.replace("layer: 2", "layer: 20").path, workspace=tiny_policy.workspace)
    killed = tiny_policy.workspace / "runs" / "20261124-000000-tiny-0000"
    killed.mkdir()
    shutil.copy(tiny_policy.path, killed / "policy.yaml")
    publish_site(tmp_path / "site", workspace=tiny_policy.workspace, key=None)
    claim = check_site(tmp_path / "site", workspace=tiny_policy.workspace).claim
    assert sorted(run.state for run in claim.runs) == ["not applied", "not verified"]
