"""The signed report of a comparison: what it binds, who checks it, and what happens when a byte of it is another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

from govern.audit import Log
from govern.cli import app
from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, Interrupted, PolicyError, UsageError
from govern.gates.choice import best_of
from govern.signing import SignerIdentity, generate_key, load_key, parse_statement, sign, throwaway_key
from govern.signing.comparison import comparison_predicate, comparison_statement
from govern.workflow.publication.audit import audit
from govern.workflow.publication.comparison import check_comparison, is_comparison
from govern.workflow.sweeps.methods import MethodsCompared
from govern.workflow.sweeps.sweep import Swept, resumes_comparison, sweep
from govern.workflow.sweeps.trials import serial

BOUND = ("before.json", "plan.json", "policy.yaml", "report.html", "sweep.json", "trials.json")
COMPARED = MethodsCompared(("ga", "ssd"), points=1, budget=0.01)


@pytest.fixture
def policy(tiny_policy: TinyPolicy) -> TinyPolicy:
    """The tiny policy, half of whose questions choose."""
    tiny_policy.replace("cluster: fact}\n  - {name: colour", "cluster: fact, use: split}\n  - {name: colour")
    tiny_policy.replace("cluster: fact}\nverification", "cluster: fact, use: split}\nverification")
    return tiny_policy.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n")


@pytest.fixture
def swept(policy: TinyPolicy) -> Swept:
    return sweep(policy.path, workspace=policy.workspace, compared=COMPARED)


def test_what_is_signed_is_what_was_found(policy: TinyPolicy, tmp_path: Path) -> None:
    generate_key(tmp_path / "key.pem", b"password")
    key = load_key(tmp_path / "key.pem", b"password")
    found = sweep(policy.path, workspace=policy.workspace, compared=COMPARED, key=key)
    assert found.report == found.folder.path("report.html")
    assert is_comparison(found.report)
    checked = check_comparison(found.report, workspace=policy.workspace)
    claim = checked.claim
    assert (claim.signer.fingerprint, claim.signer.kind) == (key.public.fingerprint, "kept")
    assert (claim.budget, claim.points, claim.sweep) == (0.01, 1, found.record.sweep)
    assert [method.method for method in claim.methods] == ["ga", "ssd"]
    best = best_of(found.record.points, "ssd")
    assert best is not None
    assert (claim.methods[1].point, claim.methods[1].forget) == (best.number, best.forget)
    statement = parse_statement(found.folder.read("statement.json"))
    assert comparison_predicate(statement) == claim
    subjects = {subject.name: subject.digests.sha256 for subject in statement.subject}
    assert set(BOUND) <= subjects.keys()
    with Log.open(policy.workspace / "audit.db", create=False) as log:
        (finished,) = [stored.event for stored in log.events(type="sweep.finished")]
    assert finished.actor == key.public.fingerprint
    for name in (*subjects, "statement.json", "report.sigstore.json", "signer.pub"):
        assert finished.digests[name] == sha256_file(found.folder.path(name))
    assert claim.audit.seq == finished.seq - 1
    audit(policy.workspace)


def test_a_byte_of_any_bound_file_is_seen_and_named(swept: Swept, tmp_path: Path) -> None:
    assert swept.report is not None
    for name in (*BOUND, "statement.json", "report.sigstore.json", "signer.pub"):
        copy = tmp_path / "copies" / name
        shutil.copytree(swept.folder.root, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        run = CliRunner().invoke(app, ["report", "verify", str(copy / "report.html")])
        assert isinstance(run.exception, IntegrityError), name
        assert run.exception.exit_code == 4
        if name in BOUND:
            assert str(run.exception.where).endswith(name)
    missing = tmp_path / "copies" / "missing"
    shutil.copytree(swept.folder.root, missing)
    (missing / "trials.json").unlink()
    with pytest.raises(IntegrityError, match=r"trials\.json is missing"):
        check_comparison(missing / "report.html", workspace=tmp_path)


def forge(folder: Path, subjects: dict[str, str] | None = None, **changes: object) -> Path:
    """A comparison's statement signed anew, by a key of the forger's, over other subjects or with other claims."""
    statement = parse_statement((folder / "statement.json").read_bytes())
    key = throwaway_key()
    signer = SignerIdentity(fingerprint=key.public.fingerprint, kind="throwaway")
    claim = comparison_predicate(statement).model_copy(update={"signer": signer, **changes})
    bound = {subject.name: subject.digests.sha256 for subject in statement.subject} if subjects is None else subjects
    signed = comparison_statement(bound, claim)
    (folder / "statement.json").write_bytes(signed)
    (folder / "report.sigstore.json").write_bytes(sign(signed, key))
    (folder / "signer.pub").write_bytes(key.public.pem)
    return folder / "report.html"


def test_what_is_signed_must_bind_what_it_rests_on_and_agree_with_it(swept: Swept, tmp_path: Path) -> None:
    folder = swept.folder.root
    assert check_comparison(forge(folder), workspace=tmp_path).files > 5
    with pytest.raises(IntegrityError, match=r"something else than sweep\.json"):
        check_comparison(forge(folder, methods=()), workspace=tmp_path)
    with pytest.raises(
        IntegrityError, match=r"does not bind before\.json, plan\.json, policy\.yaml, sweep\.json, trials\.json"
    ):
        check_comparison(forge(folder, {"report.html": sha256_file(folder / "report.html")}), workspace=tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a\0b", "x" * 300, "gone"])
def test_a_name_that_is_no_file_of_the_folder_is_refused(swept: Swept, tmp_path: Path, name: str) -> None:
    folder = swept.folder.root
    (folder.parent / "outside").write_bytes(b"")
    statement = parse_statement((folder / "statement.json").read_bytes())
    bound = {subject.name: subject.digests.sha256 for subject in statement.subject}
    report = forge(folder, {**bound, name: sha256_bytes(b"")})
    run = CliRunner().invoke(app, ["report", "verify", str(report), "--workspace", str(tmp_path)])
    assert isinstance(run.exception, IntegrityError)
    assert run.exception.exit_code == 4


def test_the_way_to_the_report_may_go_up(swept: Swept, tmp_path: Path) -> None:
    folder = swept.folder.root
    way = folder.parent / ".." / folder.parent.name / folder.name / "report.html"
    assert check_comparison(way, workspace=tmp_path).files > 5


def test_the_trials_are_in_the_log(policy: TinyPolicy, swept: Swept) -> None:
    path = swept.folder.path("trials.json")
    path.write_bytes(path.read_bytes().replace(b"ssd", b"sse", 1))
    with pytest.raises(IntegrityError, match=r"trials\.json"):
        audit(policy.workspace)


def test_a_stopped_comparison_gets_its_report_with_what_it_was_begun_with(policy: TinyPolicy) -> None:
    def killed(bench, settings):
        yield from list(serial(bench, settings[:1]))
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        sweep(policy.path, workspace=policy.workspace, compared=COMPARED, runner=killed)
    assert resumes_comparison(None, workspace=policy.workspace)
    found = sweep(None, workspace=policy.workspace, resume=True)
    assert found.report is not None
    claim = check_comparison(found.report, workspace=policy.workspace).claim
    assert (claim.budget, claim.points) == (0.01, 1)
    assert claim.signer.kind == "throwaway"
    with pytest.raises(UsageError, match="no unfinished sweep"):
        resumes_comparison(None, workspace=policy.workspace)


@pytest.mark.parametrize("name", ["before.json", "trials.json"])
def test_what_a_stopped_comparison_rests_on_cannot_be_exchanged(policy: TinyPolicy, name: str) -> None:
    def killed(bench, settings):
        raise KeyboardInterrupt
        yield

    with pytest.raises(Interrupted):
        sweep(policy.path, workspace=policy.workspace, compared=COMPARED, runner=killed)
    (path,) = policy.workspace.glob(f"sweeps/*/{name}")
    path.write_bytes(b"[]" if name == "trials.json" else path.read_bytes().replace(b"false", b"true"))
    with pytest.raises(IntegrityError, match=name):
        sweep(None, workspace=policy.workspace, resume=True)


def test_a_method_that_is_refused_begins_nothing(policy: TinyPolicy) -> None:
    text = policy.path.read_text()
    removal = text[text.index("removal:") : text.index("tasks:")]
    policy.replace(removal, "removal: {method: ga}\n")
    with pytest.raises(PolicyError, match="srmu steers a block"):
        sweep(policy.path, workspace=policy.workspace, compared=MethodsCompared(("srmu",), points=1, budget=0.01))
    with pytest.raises(UsageError, match="no unfinished sweep"):
        sweep(None, workspace=policy.workspace, resume=True)


def test_a_report_that_no_event_binds_is_seen_until_the_comparison_is_finished(
    policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Log.append

    def killed(self: Log, kind: str, **fields: object) -> object:
        if kind == "sweep.finished":
            raise KeyboardInterrupt
        return append(self, kind, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", killed)
        with pytest.raises(Interrupted):
            sweep(policy.path, workspace=policy.workspace, compared=COMPARED)
    with pytest.raises(IntegrityError, match="does not know of the report"):
        audit(policy.workspace)
    sweep(None, workspace=policy.workspace, resume=True)
    audit(policy.workspace)


def test_a_signed_record_that_is_none_is_refused(swept: Swept, tmp_path: Path) -> None:
    folder = swept.folder.root
    statement = parse_statement((folder / "statement.json").read_bytes())
    bound = {subject.name: subject.digests.sha256 for subject in statement.subject}
    for data in (b"not json", b"{}", b"\xff\xfe"):
        (folder / "sweep.json").write_bytes(data)
        report = forge(folder, {**bound, "sweep.json": sha256_bytes(data)})
        with pytest.raises(IntegrityError):
            check_comparison(report, workspace=tmp_path)


def test_a_comparison_stopped_before_its_trials_were_timed_goes_on(
    policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("govern.workflow.sweeps.methods.affordable", stopped)
        with pytest.raises(Interrupted):
            sweep(policy.path, workspace=policy.workspace, compared=COMPARED)
    found = sweep(None, workspace=policy.workspace, resume=True)
    assert [point.group for point in found.record.points] == ["ga", "ssd"]


def test_the_commands(swept: Swept, policy: TinyPolicy) -> None:
    arguments = ["report", "verify", str(swept.report), "--workspace", str(policy.workspace)]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "comparison of 2 methods" in told.stdout
    assert "throw-away key" in told.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (found["valid"], found["comparison"], found["throwaway_key"]) == (True, swept.record.sweep, True)
    assert [method["method"] for method in found["methods"]] == ["ga", "ssd"]
