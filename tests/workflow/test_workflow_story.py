"""From a policy to a signed report, and what each command says when somebody changed something."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy
from unguarded import unguarded

import govern
from govern.audit import Log
from govern.errors import GovernError, IntegrityError, SourceError, UsageError
from govern.models import reloading
from govern.records import EventType, Removal
from govern.workflow.people.reports import check_report
from govern.workflow.publication.audit import audit
from govern.workflow.publication.report import find_report
from govern.workflow.publication.status import status
from govern.workflow.removal.export import export


def event_types(workspace: Path) -> list[EventType]:
    with Log.open(workspace / "audit.db", create=False) as log:
        return [stored.event.type for stored in log.events()]


def test_a_policy_becomes_a_signed_report(verified: TinyPolicy) -> None:
    assert event_types(verified.workspace) == [
        "log.created", "apply.started", "apply.finished", "verify.started", "verify.finished", "report.issued",
    ]  # fmt: skip
    checked = check_report(find_report(None, workspace=verified.workspace), workspace=verified.workspace)
    assert checked.claim.signer.kind == "throwaway"
    assert checked.signer is None
    # A random model knows nothing, so nothing can be shown to be gone.
    assert checked.claim.verdict == "inconclusive"
    audited = audit(verified.workspace)
    assert (audited.head.size, audited.runs, audited.reports) == (6, 1, 1)
    assert audited.artefacts > 10


def test_no_training_text_or_question_enters_a_report_or_the_log(verified: TinyPolicy) -> None:
    run = find_report(None, workspace=verified.workspace).parent
    kept = [path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    kept.append((verified.workspace / "audit.db").read_bytes())
    for secret in (b"The lock of vault", b"slow turn", b"The secret of number", b"green 3"):
        assert not any(secret in data for data in kept)


def test_the_same_policy_gives_the_same_delta(tiny_policy: TinyPolicy) -> None:
    first = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    second = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    assert first.run.id != second.run.id
    assert first.removal.delta_sha256 == second.removal.delta_sha256


def test_a_second_verification_is_counted_and_keeps_the_first_report(verified: TinyPolicy) -> None:
    first = find_report(None, workspace=verified.workspace).read_bytes()
    again = govern.verify(workspace=verified.workspace)
    assert again.verdict.attempt == 2
    assert again.run.path("reports/001/report.html").read_bytes() == first
    assert again.run.path("report.html").read_bytes() != first
    audit(verified.workspace)


def test_render_issues_the_report_again_without_measuring(verified: TinyPolicy) -> None:
    issued = govern.render(workspace=verified.workspace)
    assert issued.throwaway
    assert event_types(verified.workspace)[-1] == "report.issued"
    assert event_types(verified.workspace).count("verify.started") == 1
    check_report(issued.path, workspace=verified.workspace)
    audit(verified.workspace)


def test_an_exported_model_is_the_one_that_was_promised(verified: TinyPolicy, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    exported = export(None, tmp_path / "edited", workspace=verified.workspace)
    AutoModelForCausalLM.from_pretrained(exported.path)
    assert event_types(verified.workspace)[-1] == "export.finished"
    with pytest.raises(GovernError, match="exist"):
        export(None, tmp_path / "edited", workspace=verified.workspace)


def test_an_export_of_other_bytes_leaves_nothing(
    verified: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from govern.models import export as module

    written = module._bytes
    monkeypatch.setattr(module, "_bytes", lambda tensor: written(-tensor))
    events = event_types(verified.workspace)
    with pytest.raises(IntegrityError, match="the removal promised"):
        export(None, tmp_path / "out" / "edited", workspace=verified.workspace)
    assert not list((tmp_path / "out").iterdir())
    assert event_types(verified.workspace) == events


def test_an_export_that_says_something_else_leaves_nothing(
    verified: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what comes back of the written folder is said by the base model."""
    said = reloading.plain
    base = verified.path.read_text().partition("file:")[2].partition('"')[0]
    monkeypatch.setattr(reloading, "fresh", lambda _folder, **given: said(Path(base), **given))
    with pytest.raises(IntegrityError, match="logits differ") as raised:
        export(None, tmp_path / "out" / "edited", workspace=verified.workspace)
    assert raised.value.exit_code == 4
    assert not list((tmp_path / "out").iterdir())


def test_the_removal_says_what_was_checked_of_the_edit(verified: TinyPolicy) -> None:
    run = find_report(None, workspace=verified.workspace).parent
    check = Removal.parse((run / "removal.json").read_bytes()).check
    assert check is not None
    assert (check.changed, check.unchanged, check.copies) == (2, 37, ())


def test_an_export_that_cannot_be_written_is_refused(verified: TinyPolicy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        export(None, tmp_path / "file" / "edited", workspace=verified.workspace)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


ARTEFACTS = [
    "policy.yaml", "plan.json", "removal.json", "delta.safetensors", "inputs/retain-1.safetensors",
    "inputs/perplexity-0.safetensors", "verifications/001/answers.json", "verifications/001/verdict.json",
    "report.html", "report.md", "statement.json", "report.sigstore.json", "signer.pub", "reports/001/report.html",
]  # fmt: skip


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flip", "delete"])
def test_every_changed_artefact_is_named(verified: TinyPolicy, damage: Callable[[Path], None]) -> None:
    run = find_report(None, workspace=verified.workspace).parent
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert set(ARTEFACTS) <= found
    for name in sorted(found):
        original = (run / name).read_bytes()
        damage(run / name)
        with pytest.raises(IntegrityError, match=name):
            audit(verified.workspace)
        # The files at the top are copies of the newest report's: one that is gone is put back, a changed one is not.
        if (run / name).is_file() or not (run / "reports" / "001" / name).is_file():
            with pytest.raises(IntegrityError, match=name):
                govern.verify(workspace=verified.workspace)
            assert event_types(verified.workspace)[-1] == "verify.failed"
        (run / name).write_bytes(original)
    audit(verified.workspace)


def test_a_run_whose_folder_is_gone_is_missed(verified: TinyPolicy) -> None:
    shutil.rmtree(find_report(None, workspace=verified.workspace).parent)
    with pytest.raises(IntegrityError, match="folder is missing"):
        audit(verified.workspace)


def test_status_speaks_of_nothing_that_was_changed(verified: TinyPolicy) -> None:
    run = find_report(None, workspace=verified.workspace).parent
    flip(run / "plan.json")
    with pytest.raises(IntegrityError, match=r"plan\.json"):
        status(verified.workspace)


def test_a_report_whose_issue_was_killed_is_put_in_its_place(verified: TinyPolicy) -> None:
    first = find_report(None, workspace=verified.workspace).read_bytes()
    again = govern.render(workspace=verified.workspace)
    newest = again.path.read_bytes()
    # What a kill between the event and the last copy leaves: the older report on top, and one file not there at all.
    again.path.write_bytes(first)
    (again.path.parent / "statement.json").unlink()
    with pytest.raises(IntegrityError):
        audit(verified.workspace)
    third = govern.render(workspace=verified.workspace)
    assert (third.path.parent / "reports" / "002" / "report.html").read_bytes() == newest
    audit(verified.workspace)


@pytest.mark.parametrize("name", ["report.html", "statement.json", "report.sigstore.json", "signer.pub"])
def test_a_changed_report_is_found_without_the_log(verified: TinyPolicy, tmp_path: Path, name: str) -> None:
    shutil.copytree(find_report(None, workspace=verified.workspace).parent, tmp_path / "given")
    check_report(tmp_path / "given" / "report.html", workspace=tmp_path)
    flip(tmp_path / "given" / name)
    with pytest.raises(IntegrityError):
        check_report(tmp_path / "given" / "report.html", workspace=tmp_path)


def test_a_changed_event_is_named(verified: TinyPolicy) -> None:
    with unguarded(verified.workspace / "audit.db") as database:
        body = database.execute("SELECT body FROM event WHERE seq = 2").fetchone()[0]
        database.execute("UPDATE event SET body = ? WHERE seq = 2", (body.replace(b'"seed":0', b'"seed":1'),))
    with pytest.raises(IntegrityError, match="2"):
        audit(verified.workspace)
    with pytest.raises(IntegrityError, match="2"):
        govern.verify(workspace=verified.workspace)


def test_a_report_that_names_an_event_the_log_lost_is_noticed(verified: TinyPolicy) -> None:
    with unguarded(verified.workspace / "audit.db") as database:
        database.execute("DELETE FROM event WHERE seq >= 4")
    with pytest.raises(IntegrityError, match="event 4"):
        audit(verified.workspace)


def test_changed_questions_are_noticed(verified: TinyPolicy) -> None:
    secret = verified.path.parent / "secret.jsonl"
    original = secret.read_text()
    secret.write_text(original.replace("red 5", "pink 5"))
    try:
        with pytest.raises(IntegrityError, match="question set secret"):
            govern.verify(workspace=verified.workspace)
    finally:
        secret.write_text(original)
    assert event_types(verified.workspace)[-1] == "verify.failed"


def test_a_missing_model_leaves_a_visible_failure(tiny_policy: TinyPolicy, tiny_llama: Path) -> None:
    tiny_policy.replace(f"file:{tiny_llama}", "hf:govern-tests/there-is-no-such-model")
    with pytest.raises(SourceError, match="there-is-no-such-model"):
        govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    assert event_types(tiny_policy.workspace) == ["log.created", "apply.started", "apply.failed"]


def test_a_layer_that_the_model_lacks_is_found_at_its_place(tiny_policy: TinyPolicy) -> None:
    tiny_policy.replace("layer: 2", "layer: 44")
    with pytest.raises(GovernError, match="out of range") as caught:
        govern.plan(govern.load_policy(tiny_policy.path))
    line = tiny_policy.path.read_text().splitlines().index("  layer: 44") + 1
    assert caught.value.where == f"{tiny_policy.path}:{line}:10"
    assert caught.value.exit_code == 2


def test_a_stale_plan_is_refused(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    from govern.workflow.removal.apply import apply

    plan = tmp_path / "plan.json"
    plan.write_bytes(govern.plan(govern.load_policy(tiny_policy.path)).plan.canonical())
    apply(tiny_policy.path, workspace=tiny_policy.workspace, plan=plan)
    forget = tiny_policy.path.parent / "forget.jsonl"
    forget.write_text(forget.read_text() + json.dumps({"text": "The lock of vault 99 has no number."}) + "\n")
    with pytest.raises(UsageError, match=r"stale.*corpora"):
        apply(tiny_policy.path, workspace=tiny_policy.workspace, plan=plan)


def test_a_plan_that_is_none_is_refused_before_anything_starts(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    from govern.workflow.removal.apply import apply

    (tmp_path / "plan.json").write_text("{}")
    for path, message in ((tmp_path / "plan.json", "no plan"), (tmp_path / "missing.json", "cannot be read")):
        with pytest.raises(UsageError, match=message):
            apply(tiny_policy.path, workspace=tiny_policy.workspace, plan=path)
    with pytest.raises(UsageError, match="device"):
        apply(tiny_policy.path, workspace=tiny_policy.workspace, device="tpu")
    assert not tiny_policy.workspace.exists()


def stopped(policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was stopped after its plan, as a kill leaves it. Returns its folder."""
    import govern.workflow.removal.apply as story

    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(story, "remove", stop)
        with pytest.raises(GovernError, match="interrupted"):
            govern.apply(policy.path, workspace=policy.workspace)
    return next((policy.workspace / "runs").iterdir())


def test_a_run_resumed_by_newer_code_keeps_its_plan(tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    import govern.workflow.environment as environment

    run = stopped(tiny_policy, monkeypatch)
    plan = (run / "plan.json").read_bytes()
    monkeypatch.setattr(environment, "_checkout", lambda: ("f" * 40, True))
    govern.apply(None, workspace=tiny_policy.workspace, resume=True)
    assert (run / "plan.json").read_bytes() == plan
    audit(tiny_policy.workspace)


def test_a_run_is_not_resumed_on_another_machine(tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    import govern.workflow.environment as environment

    stopped(tiny_policy, monkeypatch)
    monkeypatch.setattr(environment, "_processor", lambda: "another one")
    with pytest.raises(UsageError, match="another processor"):
        govern.apply(None, workspace=tiny_policy.workspace, resume=True)


def test_a_policy_swapped_before_the_resume_is_noticed(
    tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(tiny_policy, monkeypatch)
    (run / "policy.yaml").write_text((run / "policy.yaml").read_text().replace("ceiling: 0.9", "ceiling: 1.0"))
    with pytest.raises(IntegrityError, match=r"policy\.yaml"):
        govern.apply(None, workspace=tiny_policy.workspace, resume=True)


def test_evaluation_text_that_was_trained_on_is_refused(tiny_policy: TinyPolicy) -> None:
    copied = tiny_policy.path.parent / "held_back.jsonl"
    copied.write_text((tiny_policy.path.parent / "retain.jsonl").read_text())
    tiny_policy.replace(
        '{perplexity: "self:", max_increase: 5.0, documents: 8, max_tokens: 16, seed: 2}',
        '{perplexity: "file:held_back.jsonl", max_increase: 5.0, documents: 8, max_tokens: 12}',
    )
    with pytest.raises(GovernError, match="training text"):
        govern.plan(govern.load_policy(tiny_policy.path))


def test_nothing_to_verify_or_resume_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audit log"):
        govern.verify(workspace=tmp_path)
    with pytest.raises(UsageError, match="no unfinished run"):
        govern.apply(None, workspace=tmp_path, resume=True)


def test_importing_govern_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, govern; govern.load_policy; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_certification_questions_decide(tiny_policy: TinyPolicy) -> None:
    tiny_policy.replace(
        "kind: cloze, cluster: fact}\n  - {name: colour", "kind: cloze, cluster: fact, use: split}\n  - {name: colour"
    )
    tiny_policy.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n")
    applied = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    verdict = govern.verify(workspace=tiny_policy.workspace).verdict
    planned = next(task for task in applied.plan.tasks if task.name == "secret")
    assert 0 < planned.certification < 24
    gate = next(gate for gate in verdict.gates if gate.task == "secret")
    assert gate.n == planned.certification
    parts = {(result.part, result.n) for result in verdict.results if result.task == "secret"}
    assert parts == {("certification", planned.certification), ("selection", planned.selection)}


def test_official_questions_come_from_a_mirror(
    tiny_policy: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(__file__).parents[2].parent / "shared" / "data" / "mmlu"
    if not data.is_dir():
        pytest.skip("needs ../shared/data/mmlu")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from mirror import lay_mirror

    lay_mirror(tmp_path / "mirror", mmlu=data)
    tiny_policy.replace("    - {task: colour", "    - {task: mmlu_abstract_algebra, floor: 0.6}\n    - {task: colour")
    applied = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace, mirror=tmp_path / "mirror")
    assert next(task for task in applied.plan.tasks if task.kind == "official").source == "mirror:cais/mmlu"
    verdict = govern.verify(workspace=tiny_policy.workspace, mirror=tmp_path / "mirror").verdict
    gate = next(gate for gate in verdict.gates if gate.task == "mmlu_abstract_algebra")
    # A random model is far from 60 %, which 70 of 100 questions show.
    assert gate.verdict == "fail"
    assert 50 < gate.n < 90
    audit(tiny_policy.workspace)
