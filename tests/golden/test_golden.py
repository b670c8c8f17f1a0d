"""What earlier code made of two runs: today's renders, judges and accepts it as it stands, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from click.testing import Result
from typer.testing import CliRunner

from govern.audit import Log, Stored
from govern.cli import app
from govern.digests import sha256_bytes
from govern.evaluation.answers import Answers, Perplexity
from govern.evidence.history import History
from govern.records import Plan, Sweep, Verdict
from govern.signing import PublicKey, load_public
from govern.signing.waivers import WAIVER
from govern.workflow.files import REPORT, REPORT_MARKDOWN, STATEMENT
from govern.workflow.people.signed import read_acts
from govern.workflow.publication import comparison, report, site
from govern.workflow.publication.exports import Reported, document_of, reported, write_export
from govern.workflow.runs import events_of, stored_plan, stored_policy, stored_removal
from govern.workflow.verification.measure import Measurement
from govern.workflow.verification.outcome import judge
from govern.workspace import RunFolder, Workspace

EXPORTS: dict[str, str] = {
    "cyclonedx": "model.cdx.json",
    "junit": "junit.xml",
    "sarif": "results.sarif",
    "json": "run.json",
    "model-card": "card/README.md",
}
REPORTS = [("failed", "001"), ("kept", "001"), ("kept", "002")]


@dataclass(frozen=True)
class Golden:
    """The unpacked folder, a workspace that a test may change, and the ids of its two runs."""

    root: Path
    workspace: Path
    runs: dict[str, str]

    def run(self, name: str) -> RunFolder:
        return Workspace.open(self.workspace).run(self.runs[name])


@dataclass(frozen=True)
class OldKey:
    """The key that signed once, without its private half: statements name it, and signatures are empty."""

    public: PublicKey
    throwaway: bool

    @classmethod
    def beside(cls, statement: Path, pem: Path) -> Self:
        kind = json.loads(statement.read_bytes())["predicate"]["signer"]["kind"]
        return cls(load_public(pem.read_bytes()), kind == "throwaway")

    def sign(self, data: bytes) -> bytes:
        return b""


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(Path(__file__).with_name("golden.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def golden(unpacked: Path, tmp_path: Path) -> Golden:
    shutil.copytree(unpacked / "audits", tmp_path / "audits")
    return Golden(unpacked, tmp_path / "audits", json.loads((unpacked / "runs.json").read_bytes()))


def predicate(statement: Path) -> dict[str, object]:
    return json.loads(statement.read_bytes())["predicate"]


def turn_back(monkeypatch: pytest.MonkeyPatch, module: object, statement: Path) -> None:
    """Set a module's clock to the time at which a statement was issued."""
    monkeypatch.setattr(module, "now", lambda: str(predicate(statement)["issued"]))


@pytest.mark.parametrize(("name", "number"), REPORTS)
def test_reports_and_statements_are_rendered_alike(
    golden: Golden, name: str, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = golden.run(name)
    then = run.path(f"reports/{number}")
    turn_back(monkeypatch, report, then / STATEMENT)
    with Log.open(golden.workspace / "audit.db", create=False) as log:
        events = events_of(log, run)
        issued = [stored.event.seq for stored in log.events(run=run.id, type="report.issued")][int(number) - 1]
        position = log.event(predicate(then / STATEMENT)["audit"]["seq"])
        known = read_acts(log, run, WAIVER, before=issued)
        monkeypatch.setattr(report, "read_acts", lambda log, run, kind: known)
        verdict = next(name for name in position.event.digests if name.endswith("verdict.json"))
        report.issue_report(
            log,
            run,
            stored_policy(run, events),
            stored_plan(run),
            stored_removal(run),
            Verdict.parse(run.read(verdict)),
            position,
            key=OldKey.beside(then / STATEMENT, then / "signer.pub"),
            templates=None,
        )
    for file in (REPORT, REPORT_MARKDOWN, STATEMENT):
        assert run.read(file) == (then / file).read_bytes(), file


@pytest.mark.parametrize("name", ["failed", "kept"])
@pytest.mark.parametrize("form", EXPORTS)
def test_exports_are_written_alike(golden: Golden, name: str, form: str, tmp_path: Path) -> None:
    run, file = golden.run(name), EXPORTS[form]
    if name == "kept":
        found = reported(run.id, workspace=golden.workspace)
    else:  # exported before it was revoked, and with its waiver in force
        with Log.open(golden.workspace / "audit.db", create=False) as log:
            waivers = tuple(waived.act for waived in read_acts(log, run, WAIVER))
            found = Reported(
                run, stored_policy(run, events_of(log, run)), document_of(History(log.events()), run), waivers
            )
    write_export(found, form, tmp_path / Path(file).parts[0])
    then = (golden.root / "exports" / run.id / file).read_bytes()
    if form == "sarif":
        # Earlier code put the second gate of a task where the first one stands, although it asks for another metric.
        line = {"failed": 28, "kept": 33}[name]
        wrong, right = f'"startColumn":7,"startLine":{line}', f'"startColumn":47,"startLine":{line + 1}'
        assert wrong.encode() in then
        then = then.replace(wrong.encode(), right.encode())
    assert (tmp_path / file).read_bytes() == then


def test_the_comparison_of_methods_is_rendered_alike(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    (statement,) = golden.workspace.glob(f"sweeps/*/{STATEMENT}")
    then, claim = statement.parent, predicate(statement)
    turn_back(monkeypatch, comparison, statement)
    position = comparison.ComparisonPredicate.model_validate(claim).audit
    monkeypatch.setattr(Log, "position", lambda log: position)
    subjects = json.loads(statement.read_bytes())["subject"]
    old = {file: (then / file).read_bytes() for file in (REPORT, STATEMENT)}
    folder = RunFolder(then)
    with Log.open(golden.workspace / "audit.db", create=False) as log:
        comparison.issue_comparison(
            log,
            folder,
            Plan.parse(folder.read("plan.json")),
            Sweep.parse(folder.read("sweep.json")),
            claim["budget"],
            claim["points"],
            {entry["name"]: entry["digest"]["sha256"] for entry in subjects if entry["name"] != REPORT},
            OldKey.beside(statement, then / "signer.pub"),
        )
    assert {file: folder.read(file) for file in old} == old


def test_the_site_is_published_alike(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = golden.root / "site"
    turn_back(monkeypatch, site, then / "site.json")
    key = OldKey.beside(then / "site.json", then / "signer.pub")
    site.publish_site(tmp_path / "site", workspace=golden.workspace, key=key)

    def files(folder: Path) -> dict[str, str]:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        named = {path.relative_to(folder).as_posix(): sha256_bytes(path.read_bytes()) for path in paths}
        return {name: digest for name, digest in named.items() if name != "site.sigstore.json"}

    assert files(tmp_path / "site") == files(then)


def test_a_site_reads_the_log_once_for_status_and_once_for_all_runs(
    golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, whole = Log.events, []

    def counted(log: Log, **only: str) -> Iterator[Stored]:
        whole.extend([] if only else [sys._getframe(1).f_code.co_name])  # who reads all of it
        return read(log, **only)

    monkeypatch.setattr(Log, "events", counted)
    site.publish_site(tmp_path / "site", workspace=golden.workspace, key=None)
    assert sorted(whole) == ["publish_site", "read_history"]


@pytest.mark.parametrize(("name", "number"), REPORTS)
def test_the_stored_answers_are_judged_alike(golden: Golden, name: str, number: str) -> None:
    run = golden.run(name)
    stored = json.loads(run.read(f"verifications/{number}/answers.json"))
    verdict = Verdict.parse(run.read(f"verifications/{number}/verdict.json"))

    def measured(part: str) -> Measurement:
        answers = tuple(Answers.model_validate(entry) for entry in stored[part]["answers"])
        return Measurement(answers, tuple(Perplexity.model_validate(each) for each in stored[part]["perplexities"]), ())

    with Log.open(golden.workspace / "audit.db", create=False) as log:
        policy = stored_policy(run, events_of(log, run))
    assert judge(policy, measured("before"), measured("after")) == verdict.gates


def told(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, [str(word) for word in words])


def test_two_runs_are_compared_alike(golden: Golden) -> None:
    words = ("compare", golden.runs["failed"], golden.runs["kept"], "--workspace", golden.workspace)
    for file, more in (("compare.json", ["--json"]), ("compare.txt", [])):
        assert told(*words, *more).stdout == (golden.root / "exports" / file).read_text()


def test_everything_that_was_signed_is_accepted(golden: Golden) -> None:
    workspace = ("--workspace", golden.workspace)
    checks: list[tuple[object, ...]] = [
        ("audit", "verify", *workspace),
        ("site", "--check", golden.root / "site", *workspace),
        *(("evidence", "verify", golden.root / pack) for pack in ("pack", "pack_revoked")),
        *(("report", "verify", path, *workspace) for path in sorted(golden.workspace.rglob(REPORT))),
    ]
    for words in checks:
        found = told(*words)
        assert found.exit_code == 0, (words, found.output)
    found = told("status", *workspace, "--json")
    assert found.exit_code == 0, found.output
    standing = {run["run"]: run for run in json.loads(found.stdout)["runs"]}
    assert set(standing) == set(golden.runs.values())
    failed, kept = (standing[golden.runs[name]] for name in ("failed", "kept"))
    assert (failed["state"], bool(failed["revoked"])) == ("failed", True)
    assert (kept["state"], bool(kept["revoked"])) == ("approved", False)


def test_nothing_of_the_machine_is_kept(golden: Golden) -> None:
    for path in golden.root.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"/home/" not in data
        assert os.fsencode(Path.home() / "x") not in data
        assert b"PRIVATE KEY" not in data
