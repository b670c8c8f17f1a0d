"""From a policy that leaves its settings open to a removal whose plan says which sweep chose them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, Interrupted, PolicyError, PolicyErrors, UsageError
from govern.records import Event, Sweep
from govern.workflow.publication.audit import audit
from govern.workflow.removal.chosen import chosen_in
from govern.workflow.removal.plan import make_plan
from govern.workflow.sweeps.points import score_point
from govern.workflow.sweeps.sweep import sweep
from govern.workflow.sweeps.trials import serial

FIRST = [
    "log.created", "sweep.started", "sweep.prepared", "sweep.point", "sweep.point", "sweep.point", "sweep.point",
    "sweep.finished",
]  # fmt: skip


@pytest.fixture
def swept(tiny_policy: TinyPolicy) -> TinyPolicy:
    """The tiny policy with a grid of four points, and half of its questions to choose by."""
    tiny_policy.replace("coefficient: 5", "coefficient: {sweep: {values: [1, 20]}}")
    tiny_policy.replace("tasks:\n", "sweep: {importance: [ratio, uniform]}\ntasks:\n")
    tiny_policy.replace("cluster: fact}\n  - {name: colour", "cluster: fact, use: split}\n  - {name: colour")
    tiny_policy.replace("cluster: fact}\nverification", "cluster: fact, use: split}\nverification")
    return tiny_policy.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n")


def events(workspace: Path) -> list[Event]:
    with Log.open(workspace / "audit.db", create=False) as log:
        return [stored.event for stored in log.events()]


def test_a_sweep_chooses_and_apply_takes_what_it_chose(swept: TinyPolicy) -> None:
    found = govern.sweep(swept.path, workspace=swept.workspace)
    assert [event.type for event in events(swept.workspace)] == FIRST
    record = found.record
    assert record.swept == {"importance": ("ratio", "uniform"), "coefficient": (1.0, 20.0)}
    assert record.chosen is not None
    chosen = record.points[record.chosen]

    applied = govern.apply(swept.path, workspace=swept.workspace)
    assert applied.plan.parameters == chosen.settings
    assert applied.plan.sweep is not None
    assert (applied.plan.sweep.sweep, applied.plan.sweep.point) == (record.sweep, record.chosen)
    assert applied.plan.sweep.digest == record.sha256
    assert not any("sweep" in warning for warning in applied.plan.warnings)
    # What was scored and what is applied are the same bytes.
    assert applied.removal.delta_sha256 == chosen.delta_sha256
    assert Sweep.parse(applied.run.read("sweep.json")) == record
    # A plan that was looked at beforehand, with the same choice, is the one that is applied.
    chosen_now = chosen_in(swept.workspace, govern.load_policy(swept.path), "latest")
    looked_at = make_plan(govern.load_policy(swept.path), stored=found.folder, chosen=chosen_now).plan
    assert looked_at.inputs_digest == applied.plan.inputs_digest
    govern.verify(workspace=swept.workspace)
    audited = audit(swept.workspace)
    assert audited.runs == 1


def test_only_questions_that_choose_are_asked(swept: TinyPolicy) -> None:
    found = sweep(swept.path, workspace=swept.workspace)
    selection = {task.name: task.selection for task in found.plan.tasks}
    assert 0 < selection["secret"] < 24
    for point in found.record.points:
        assert {gate.task: gate.n for gate in point.gates if gate.metric != "perplexity"} == selection
        assert point.forget.n == selection["secret"]
        (read,) = (gate for gate in point.gates if gate.metric == "perplexity")
        assert read.task == "held-back text for gate 2"
    inputs = found.folder.path("inputs")
    certifying, choosing = (inputs / f"{name}.safetensors" for name in ("perplexity-0", "selection-1"))
    assert certifying.read_bytes() != choosing.read_bytes()


def test_a_set_of_its_own_stands_for_a_gated_one(swept: TinyPolicy) -> None:
    folder = swept.path.parent
    (folder / "choosing.jsonl").write_text((folder / "secret.jsonl").read_text().replace("secret", "chosen"))
    swept.replace(
        "tasks:\n", "tasks:\n  - {name: choosing, file: choosing.jsonl, kind: cloze, use: selection, selects: secret}\n"
    )
    found = sweep(swept.path, workspace=swept.workspace)
    assert [gate.task for gate in found.record.points[0].gates][:2] == ["choosing", "colour"]
    assert found.record.points[0].forget.n == 24


def test_a_gate_without_questions_that_choose_is_named(swept: TinyPolicy) -> None:
    swept.replace("cluster: fact, use: split}\n  - {name: colour", "cluster: fact}\n  - {name: colour")
    with pytest.raises(PolicyError, match="no questions choose settings for secret") as caught:
        sweep(swept.path, workspace=swept.workspace)
    line = next(n for n, text in enumerate(swept.path.read_text().splitlines(), 1) if "ceiling" in text)
    assert caught.value.where == f"{swept.path}:{line}:19"
    assert events(swept.workspace)[-1].type == "sweep.failed"


def test_a_killed_sweep_resumes_and_asks_nothing_twice(swept: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep(swept.path, workspace=swept.workspace)

    def killed(bench, settings):
        yield from list(serial(bench, settings[:2]))
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        sweep(swept.path, workspace=swept.workspace, runner=killed)
    asked = []

    def counted(bench, settings):
        asked.extend(settings)
        return serial(bench, settings)

    # By newer code, on the same machine: the sweep keeps the plan that it began with.
    monkeypatch.setattr("govern.workflow.environment._checkout", lambda: ("f" * 40, True))
    resumed = sweep(None, workspace=swept.workspace, resume=True, runner=counted)
    assert len(asked) == 2
    assert resumed.record.plan_digest == sha256_bytes(resumed.folder.read("plan.json"))
    assert [event.type for event in events(swept.workspace)[len(FIRST) :]] == [
        "sweep.started", "sweep.prepared", "sweep.point", "sweep.point", "sweep.resumed", "sweep.point", "sweep.point",
        "sweep.finished",
    ]  # fmt: skip

    def timeless(record):
        return [
            point.model_copy(update={"edit_seconds": 0.0, "edit_peak_bytes": None, "score_seconds": 0.0})
            for point in record.points
        ]

    assert timeless(resumed.record) == timeless(whole.record)
    assert resumed.record.chosen == whole.record.chosen
    with pytest.raises(UsageError, match="no unfinished sweep"):
        sweep(None, workspace=swept.workspace, resume=True)


def test_points_that_come_out_of_order_are_the_same(swept: TinyPolicy) -> None:
    def backwards(bench, settings):
        for number in reversed(range(len(settings))):
            yield number, score_point(bench, settings[number])

    first, second = (sweep(swept.path, workspace=swept.workspace, runner=runner) for runner in (serial, backwards))
    assert [p.delta_sha256 for p in first.record.points] == [p.delta_sha256 for p in second.record.points]
    assert [p.forget for p in first.record.points] == [p.forget for p in second.record.points]
    assert len({p.delta_sha256 for p in first.record.points}) == 4


def test_a_point_that_breaks_off_is_kept_and_never_chosen(swept: TinyPolicy) -> None:
    swept.replace("values: [1, 20]", "values: [1, 1e30]")
    record = sweep(swept.path, workspace=swept.workspace).record
    broken = [point for point in record.points if point.error]
    assert [point.settings["coefficient"] for point in broken] == [1e30, 1e30]
    assert record.chosen not in [point.number for point in broken]
    assert all(point.forget is None and point.delta_sha256 is None for point in broken)


def test_nothing_qualifies_is_said_and_apply_refuses(swept: TinyPolicy) -> None:
    swept.replace("ceiling: 0.9", "ceiling: 0.0")
    found = sweep(swept.path, workspace=swept.workspace)
    assert found.record.chosen is None
    assert found.record.nearest is not None
    assert "comes nearest" in found.record.reason
    with pytest.raises(UsageError, match="chose nothing"):
        govern.apply(swept.path, workspace=swept.workspace)


def test_apply_waits_for_a_sweep_of_this_very_policy(swept: TinyPolicy) -> None:
    with pytest.raises(UsageError, match="none of it is finished"):
        govern.apply(swept.path, workspace=swept.workspace)
    found = sweep(swept.path, workspace=swept.workspace)
    swept.replace("ceiling: 0.9", "ceiling: 0.8")
    with pytest.raises(UsageError, match="none of it is finished"):
        govern.apply(swept.path, workspace=swept.workspace)
    with pytest.raises(UsageError, match="of another policy"):
        govern.apply(swept.path, workspace=swept.workspace, sweep=found.record.sweep)


def test_a_changed_sweep_is_not_applied(swept: TinyPolicy) -> None:
    found = sweep(swept.path, workspace=swept.workspace)
    path = found.folder.path("sweep.json")
    body = json.loads(path.read_bytes())
    body["chosen"] = (body["chosen"] + 1) % 4
    path.write_text(json.dumps(body))
    with pytest.raises(IntegrityError, match=r"sweep\.json"):
        govern.apply(swept.path, workspace=swept.workspace)
    with pytest.raises(IntegrityError, match=r"sweep\.json"):
        audit(swept.workspace)


def test_a_sweep_that_chose_for_other_text_is_not_applied(swept: TinyPolicy) -> None:
    sweep(swept.path, workspace=swept.workspace)
    forget = swept.path.parent / "forget.jsonl"
    forget.write_text(forget.read_text() + json.dumps({"text": "The lock of vault 99 has no number."}) + "\n")
    with pytest.raises(UsageError, match="other inputs: corpora"):
        govern.apply(swept.path, workspace=swept.workspace)


def test_no_text_or_question_enters_the_log_or_a_sweep(swept: TinyPolicy) -> None:
    folder = sweep(swept.path, workspace=swept.workspace).folder
    kept = [path.read_bytes() for path in folder.root.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    kept.append((swept.workspace / "audit.db").read_bytes())
    for secret in (b"The lock of vault", b"The secret of number", b"green 3"):
        assert not any(secret in data for data in kept)


def test_the_ablation_has_table_4s_rows_and_figure_2s_curves(tiny_policy: TinyPolicy) -> None:
    tiny_policy.replace("cluster: fact}\n  - {name: colour", "cluster: fact, use: split}\n  - {name: colour")
    tiny_policy.replace("cluster: fact}\nverification", "cluster: fact, use: split}\nverification")
    tiny_policy.replace("steps: 12", "steps: 2")
    record = sweep(tiny_policy.path, workspace=tiny_policy.workspace, ablation=True).record
    rows = {
        group: [point for point in record.points if point.group == group] for group in ("equal c", "equal ‖T‖", "curve")
    }
    labels = [point.label for point in rows["equal c"]]
    assert labels == [
        "RMU", "SRMU (full)", "T = 0", "uniform map", "fixed +1 direction", "fixed −1 direction",
        "random direction in [0, 1)",
    ]  # fmt: skip
    assert {point.settings["coefficient"] for point in rows["equal c"]} == {5.0}
    lengths = {point.label: point.target_norm for point in rows["equal c"]}
    assert lengths["T = 0"] == 0
    assert len({round(length, 6) for length in lengths.values()}) > 3
    assert [point.label for point in rows["equal ‖T‖"]] == [
        name for name in labels if name not in ("SRMU (full)", "T = 0")
    ]
    for point in rows["equal ‖T‖"]:
        assert point.target_norm == pytest.approx(lengths["SRMU (full)"], rel=1e-5)
    assert [(point.label, point.settings["coefficient"]) for point in rows["curve"]] == [
        (name, 5 * factor) for name in ("ratio", "product", "difference") for factor in (0.25, 0.5, 1, 2, 4)
    ]
    assert record.chosen is None
    with pytest.raises(UsageError, match="no unfinished sweep"):
        sweep(None, workspace=tiny_policy.workspace, resume=True)


def test_a_policy_that_leaves_nothing_open_is_not_swept(tiny_policy: TinyPolicy) -> None:
    with pytest.raises(PolicyError, match="leaves nothing to a sweep"):
        sweep(tiny_policy.path, workspace=tiny_policy.workspace)
    with pytest.raises(UsageError, match="leaves nothing to a sweep"):
        govern.apply(tiny_policy.path, workspace=tiny_policy.workspace, sweep="latest")


def test_every_point_is_attacked_and_the_one_that_withstands_it_best_is_chosen(swept: TinyPolicy) -> None:
    attack = "attack: {attack: relearn, text: facts, documents: 4, epochs: 1, lora_rank: null, questions: 8}"
    swept.replace("selection: {share: 0.5}", f"selection: {{share: 0.5, {attack}}}")
    record = govern.sweep(swept.path, workspace=swept.workspace).record
    assert record.attack is not None
    assert (record.attack["attack"], record.attack["documents"]) == ("relearn", 4)
    assert record.attacked_before is not None
    # Half of the facts are asked about after learning the others.
    assert {point.attacked.n for point in record.points} == {record.attacked_before.n}
    assert 0 < record.attacked_before.n < record.forget_before.n
    chosen = record.points[record.chosen]
    best = min(point.attacked.value for point in record.points if point.standing == chosen.standing)
    assert chosen.attacked.value == best
    assert "the least left after the attack" in record.rule
    assert "the least left after the attack among them" in record.reason
    applied = govern.apply(swept.path, workspace=swept.workspace)
    assert applied.removal.delta_sha256 == record.points[record.chosen].delta_sha256
    verified = govern.verify(workspace=swept.workspace)
    assert "Attack on every point" in verified.issued.path.read_text()


def test_two_gates_on_one_task_are_attacked_once(swept: TinyPolicy) -> None:
    attack = "attack: {attack: relearn, text: facts, documents: 4, epochs: 1, lora_rank: null, questions: 8}"
    swept.replace("selection: {share: 0.5}", f"selection: {{share: 0.5, {attack}}}")
    once = sweep(swept.path, workspace=swept.workspace).record
    swept.replace(
        "{task: secret, ceiling: 0.9}", "{task: secret, ceiling: 0.9}, {task: secret, metric: acc_norm, ceiling: 0.9}"
    )
    twice = sweep(swept.path, workspace=swept.workspace).record
    assert [point.attacked for point in twice.points] == [point.attacked for point in once.points]


def test_too_few_facts_that_choose_are_named_in_the_policy(swept: TinyPolicy) -> None:
    attack = "attack: {attack: relearn, text: facts}"
    swept.replace("selection: {share: 0.5}", f"selection: {{share: 0.2, {attack}}}")
    with pytest.raises(PolicyError, match="too few to attack one half") as raised:
        govern.sweep(swept.path, workspace=swept.workspace)
    assert raised.value.where.startswith(f"{swept.path}:")
    assert "facts choose" in raised.value.hint


def test_a_limit_on_the_attack_of_a_sweep_would_decide_nothing(swept: TinyPolicy) -> None:
    attack = "attack: {attack: relearn, text: facts, max_recovery: 0.2}"
    swept.replace("selection: {share: 0.5}", f"selection: {{share: 0.5, {attack}}}")
    with pytest.raises(PolicyErrors, match="holds none against a limit"):
        govern.load_policy(swept.path)
