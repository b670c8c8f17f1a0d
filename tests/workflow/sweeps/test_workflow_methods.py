"""Comparing methods on one policy: the same text, the same questions, a budget, and a table that tells who did what."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy

from govern.audit import Log
from govern.cli import app
from govern.errors import Interrupted, PolicyError, UsageError
from govern.gates.choice import best_of
from govern.policy import load_policy
from govern.unlearning.misdirection import Misdirection
from govern.workflow.sweeps.methods import MethodsCompared, affordable, base_settings, methods_named
from govern.workflow.sweeps.sweep import sweep
from govern.workflow.sweeps.trials import serial


@pytest.fixture
def policy(tiny_policy: TinyPolicy) -> TinyPolicy:
    """The tiny policy, half of whose questions choose."""
    tiny_policy.replace("cluster: fact}\n  - {name: colour", "cluster: fact, use: split}\n  - {name: colour")
    tiny_policy.replace("cluster: fact}\nverification", "cluster: fact, use: split}\nverification")
    return tiny_policy.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n")


def test_each_method_has_its_points_and_its_best(policy: TinyPolicy) -> None:
    compared = MethodsCompared(("grad_diff", "ssd", "srmu"), points=2, budget=0.01)
    found = sweep(policy.path, workspace=policy.workspace, compared=compared)
    assert (found.record.kind, found.record.chosen) == ("methods", None)
    assert [point.group for point in found.record.points] == ["grad_diff"] * 2 + ["ssd"] * 2 + ["srmu"] * 2
    first, second = found.record.points[:2]
    assert second.settings["learning_rate"] == pytest.approx(5 * first.settings["learning_rate"])
    assert first.settings["steps"] == 1  # a hundredth of a second is not enough for more
    assert {point.forget.n for point in found.record.points if point.forget} == {
        task.selection for task in found.plan.tasks if task.name == "secret"
    }
    for method in compared.methods:
        best = best_of(found.record.points, method)
        assert best is None or best.group == method
    with Log.open(policy.workspace / "audit.db", create=False) as log:
        events = [stored.event for stored in log.events()]
    assert [event.type for event in events].count("sweep.point") == 6


def test_a_point_shares_no_opened_model_with_the_one_before(
    policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the second one's time and memory would not be a removal's."""
    opened = []
    open_model = Misdirection.open.__func__

    def watched(cls, request, **options):
        opened.append(request.settings.coefficient)
        return open_model(cls, request, **options)

    monkeypatch.setattr(Misdirection, "open", classmethod(watched))
    compared = MethodsCompared(("srmu",), points=2, budget=0.01)
    points = sweep(policy.path, workspace=policy.workspace, compared=compared).record.points
    # Two runs are timed, then each point.
    assert len(opened) == 4
    assert [point.error for point in points] == [None, None]


@pytest.mark.slow
def test_a_comparison_that_was_stopped_goes_on_with_the_steps_that_were_timed(policy: TinyPolicy) -> None:
    def killed(bench, settings):
        yield from list(serial(bench, settings[:1]))
        raise KeyboardInterrupt

    compared = MethodsCompared(("ga", "ssd"), points=1, budget=0.01)
    with pytest.raises(Interrupted):
        sweep(policy.path, workspace=policy.workspace, compared=compared, runner=killed)
    asked = []

    def counting(bench, settings):
        asked.extend(settings)
        yield from serial(bench, settings)

    found = sweep(None, workspace=policy.workspace, resume=True, runner=counting)
    assert [settings.method for settings in asked] == ["ssd"]
    assert [point.group for point in found.record.points] == ["ga", "ssd"]


def test_the_budget_becomes_steps(policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_settings(load_policy(policy.path), "ga")
    ran = []

    from govern.unlearning.protocol import RemovalRequest
    from govern.unlearning.registry import METHODS
    from govern.workflow.sweeps import methods

    quiet = dataclasses.replace(METHODS["ga"], run=lambda request: ran.append(request.settings.steps))
    monkeypatch.setattr(methods, "METHODS", {"ga": quiet})
    # One step takes 3 s, three take 7 s: 2 s each, and in 45 s there is room for that one and 21 more.
    clock = itertools.accumulate([0, 3, 0, 7]).__next__
    assert affordable(base, RemovalRequest(model_path=Path(), topics=(), settings=base), 45, clock) == {"steps": 22}
    assert ran == [1, 3]


@pytest.mark.parametrize(
    ("method", "third", "work"),
    [
        # A step takes 2 s and one of strengthening 6 s, of which a third comes with each step: 4 s, and 42 s are left.
        ("rklu", 19, {"steps": 11, "strengthening_steps": 4}),
        # A step takes 2 s and a batch of samples 10 s, of which a tenth comes with each step: 3 s.
        ("quark", 27, {"steps": 15}),
    ],
)
def test_what_a_method_does_beside_its_steps_is_in_the_budget(
    policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch, method: str, third: int, work: dict[str, int]
) -> None:
    from govern.unlearning.protocol import RemovalRequest
    from govern.unlearning.registry import METHODS
    from govern.workflow.sweeps import methods

    base = base_settings(load_policy(policy.path), method)
    ran = []

    quiet = dataclasses.replace(METHODS[method], run=lambda request: ran.append(request.settings))
    monkeypatch.setattr(methods, "METHODS", {method: quiet})
    clock = itertools.accumulate([0, 3, 0, 7, 0, third]).__next__
    assert affordable(base, RemovalRequest(model_path=Path(), topics=(), settings=base), 45, clock) == work
    assert [settings.steps for settings in ran] == [1, 3, 3]


def test_a_method_that_cannot_be_made_is_a_row_where_all_are_compared(policy: TinyPolicy) -> None:
    text = policy.path.read_text()
    start, end = text.index("removal:"), text.index("tasks:")
    policy.path.write_text(f"{text[:start]}removal: {{method: ga, batch_size: 2}}\n{text[end:]}")
    every = MethodsCompared(("srmu", "ssd"), points=1, budget=0.01, every=True)
    found = sweep(policy.path, workspace=policy.workspace, compared=every)
    unmade, other = found.record.points
    assert (unmade.group, unmade.settings, unmade.forget) == ("srmu", {"method": "srmu"}, None)
    assert unmade.error == "srmu steers a block, and this policy names none"
    assert other.error is None
    assert best_of(found.record.points, "srmu") is None
    with pytest.raises(PolicyError, match="srmu steers a block"):
        sweep(policy.path, workspace=policy.workspace, compared=MethodsCompared(("srmu", "ssd"), points=1, budget=0.01))


def test_a_method_that_breaks_off_is_a_row_and_the_others_go_on(policy: TinyPolicy) -> None:
    # At this rate the first update leaves no finite loss for the second, in the timing and as a point alike.
    policy.replace("learning_rate: ", "learning_rate: 1.0e+30 # ")
    found = sweep(
        policy.path, workspace=policy.workspace, compared=MethodsCompared(("srmu", "ssd"), points=1, budget=0.01)
    )
    broken, other = found.record.points
    assert broken.error
    assert (broken.forget, broken.standing) == (None, "none")
    assert other.error is None
    assert other.forget


def test_a_method_that_breaks_off_gets_no_more_work_than_the_policy_has(policy: TinyPolicy) -> None:
    policy.replace("learning_rate: ", "learning_rate: 1.0e+30 # ").replace("steps: ", "steps: 1 # ")
    found = sweep(policy.path, workspace=policy.workspace, compared=MethodsCompared(("srmu",), points=1, budget=0.01))
    assert found.record.points[0].settings["steps"] == 1


def test_what_cannot_be_compared_is_said(policy: TinyPolicy) -> None:
    assert methods_named("npo, ssd,npo") == ("npo", "ssd")
    assert "external" not in methods_named("all")
    assert len(methods_named("all")) == 15
    with pytest.raises(UsageError, match="no method 'npa'"):
        methods_named("npa")
    text = policy.path.read_text()
    start, end = text.index("removal:"), text.index("tasks:")
    policy.path.write_text(f"{text[:start]}removal: {{method: ga}}\n{text[end:]}")
    with pytest.raises(PolicyError, match="rmu steers a block"):
        base_settings(load_policy(policy.path), "rmu")


@pytest.mark.slow
def test_the_command(policy: TinyPolicy) -> None:
    from typer.testing import CliRunner

    arguments = ["compare", str(policy.path), "--methods", "ssd,depn", "--points", "1", "--budget", "1"]
    run = CliRunner().invoke(app, [*arguments, "--workspace", str(policy.workspace)])
    assert run.exit_code == 0, run.output
    assert "ssd" in run.stdout
    assert "depn" in run.stdout
    with Log.open(policy.workspace / "audit.db", create=False) as log:
        (finished,) = [stored.event for stored in log.events(type="sweep.finished")]
    assert finished.parameters["kind"] == "methods"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_a_budget_without_an_end_is_refused(policy: TinyPolicy, seconds: str) -> None:
    arguments = ["compare", str(policy.path), "--methods", "ssd", "--budget", seconds]
    done = subprocess.run([sys.executable, "-m", "govern", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--budget" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_comparison_whose_report_fails_is_in_the_log(policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no room for the report")

    monkeypatch.setattr("govern.workflow.sweeps.sweep.issue_comparison", broken)
    with pytest.raises(OSError, match="no room"):
        sweep(policy.path, workspace=policy.workspace, compared=MethodsCompared(("ssd",), points=1, budget=0.01))
    with Log.open(policy.workspace / "audit.db", create=False) as log:
        last = list(log.events())[-1].event
    assert (last.type, last.parameters) == ("sweep.failed", {"kind": "methods", "error": "OSError"})


@pytest.mark.parametrize("other", [{"ablation": True}, {"compared": MethodsCompared(("ssd",), points=1, budget=1)}])
def test_what_is_resumed_stays_what_it_was(policy: TinyPolicy, other: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="stays what it was begun as"):
        sweep(None, workspace=policy.workspace, resume=True, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "{policy}", "--key", "k.pem"], "--key: nothing is signed"),
        (["compare", "latest", "latest", "--points", "3"], "--points: two runs are compared"),
        (["compare", "latest", "latest", "--budget", "3"], "--budget: two runs are compared"),
        (["compare", "latest", "latest", "--device", "cpu"], "--device: two runs are compared"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(policy: TinyPolicy, arguments: list[str], words: str) -> None:
    given = [each.format(policy=policy.path) for each in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "govern", *given, "--workspace", str(policy.workspace)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
