"""Attacks in a policy become part of the verdict and its report; `govern stress` tries them at any time."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import pytest
import torch
from review_team import gather
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.errors import Interrupted, UsageError
from govern.policy import load_policy
from govern.records import Stress, Verdict, VerdictValue
from govern.stress.attack import Attempt
from govern.stress.registry import ATTACKS
from govern.workflow.people.reports import check_report
from govern.workflow.people.waive import waive
from govern.workflow.publication.audit import audit
from govern.workflow.publication.exports import reported, write_export
from govern.workflow.publication.status import status
from govern.workflow.removal.prune import find_prunable, prune
from govern.workflow.verification.stress import AttackCost, stress
from govern.workflow.verification.verdict import reach_verdict

SOME = """
    - {attack: relearn, text: unrelated, documents: 4, epochs: 1, lora_rank: 2, questions: 8, max_recovery: 0.5}
    - {attack: quantise, bits: 4, questions: 8}
    - {attack: logit_lens, questions: 8}
    - {attack: format, form: letters, questions: 8, max_recovery: 1}"""


@pytest.fixture
def attacked(tiny_policy: TinyPolicy) -> TinyPolicy:
    tiny_policy.path.write_text(tiny_policy.path.read_text().rstrip() + f"\n  stress:{SOME}\n")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    return tiny_policy


def test_an_attack_that_was_not_passed_can_be_waived_like_any_gate(tiny_policy: TinyPolicy) -> None:
    attack = "{attack: quantise, bits: 4, questions: 8, max_recovery: 0.5}"
    tiny_policy.path.write_text(tiny_policy.path.read_text().rstrip() + f"\n  stress: [{attack}]\n")
    team = gather(tiny_policy)
    granted = waive(
        None,
        gate="secret/recovery/quantise to 4 bits, nearest",
        until="2099-01-01T00:00:00Z",
        reason="It never runs in 4 bits.",
        workspace=team.workspace,
        key=team.keys["max"],
    )
    assert str(granted.act.gate) == "secret/recovery/quantise to 4 bits, nearest"
    (found,) = status(team.workspace)
    [(_, state)] = found.waivers
    assert (state, found.verdict) == ("in force", "inconclusive")
    audit(team.workspace)


def test_attacks_with_a_limit_are_gates_and_all_are_on_the_page(attacked: TinyPolicy, tmp_path: Path) -> None:
    names = [attack.describe() for attack in load_policy(attacked.path).policy.verification.stress]
    verified = govern.verify(workspace=attacked.workspace)
    found = verified.verdict.stress
    assert [result.name for result in found] == names
    assert [result.verdict is None for result in found] == [False, True, True, False]
    # A random model knows nothing that could come back, so the attacks decide nothing, and that is not a pass.
    assert {result.verdict for result in found} == {None, "inconclusive"}
    assert verified.verdict.verdict != "pass"
    for page in (verified.run.path("report.html"), verified.run.path("report.md")):
        text = page.read_text()
        assert all(name in text for name in names)
        assert "Other attacks may succeed" in text
        assert "No attack was tried" not in text
    payload = base64.b64decode(json.loads(verified.run.read("gates.sigstore.json"))["dsseEnvelope"]["payload"])
    warned = json.loads(payload)["predicate"]["warnedTests"]
    assert [f"secret recovery {name}" in warned for name in names] == [True, False, False, True]
    assert audit(attacked.workspace).runs == 1
    exported = reported(None, workspace=attacked.workspace)
    write_export(exported, "junit", tmp_path / "junit.xml")
    assert f'name="{names[0]}: recovered at most 50.0 %"' in (tmp_path / "junit.xml").read_text()
    write_export(exported, "sarif", tmp_path / "gates.sarif")
    (run,) = json.loads((tmp_path / "gates.sarif").read_text())["runs"]
    recoveries = [result for result in run["results"] if result["ruleId"] == "max_recovery"]
    assert [result["kind"] for result in recoveries] == ["open", "open"]


@pytest.mark.parametrize("came_back", ["pass", "fail"])
def test_an_attack_can_fail_a_removal_whose_gates_all_pass(
    attacked: TinyPolicy, came_back: VerdictValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random model passes nothing, so the verdict is written by hand and issued as any other."""

    def by_hand(*arguments: Any, **options: Any) -> Verdict:
        found = reach_verdict(*arguments, **options)
        gates = tuple(gate.model_copy(update={"verdict": "pass"}) for gate in found.gates)
        attacks = tuple(
            attack.model_copy(update={"verdict": came_back if attack.verdict else None}) for attack in found.stress
        )
        return found.model_copy(update={"verdict": came_back, "gates": gates, "stress": attacks})

    monkeypatch.setattr("govern.workflow.verification.verify.reach_verdict", by_hand)
    run = govern.verify(workspace=attacked.workspace).run
    claim = check_report(run.path("report.html"), workspace=attacked.workspace).claim
    assert claim.verdict == came_back
    assert [attack.verdict for attack in claim.attacks] == [came_back, came_back]
    assert {gate.verdict for gate in claim.gates} == {"pass"}


EVERY_OTHER = """
    - {attack: linear_probe, questions: 8}
    - {attack: ablate, documents: 2, questions: 8}
    - {attack: prune, sparsity: 0.5, weights: changed, questions: 8}
    - {attack: endure, stages: [2, 4], epochs: 1, lora_rank: 2, questions: 8}
    - {attack: format, form: paraphrase, questions: 8}
    - {attack: generate, max_new_tokens: 4, questions: 8, max_recovery: 1}
    - {attack: gcg, length: 4, steps: 2, candidates: 4, searched: 2, questions: 8}"""


def test_a_killed_stress_test_goes_on_where_it_was(tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_policy.path.write_text(tiny_policy.path.read_text().rstrip() + f"\n  stress:{EVERY_OTHER}\n")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    monkeypatch.setenv("GOVERN_CACHE", str(tiny_policy.workspace / "cache"))  # where no control was kept before
    made: list[str] = []

    def watched(name: str, attempt: Callable[..., Attempt]) -> Callable[..., Attempt]:
        def attempted(*arguments: Any) -> Attempt:
            made.append(name)
            if len(made) == 6:
                raise KeyboardInterrupt
            return attempt(*arguments)

        return attempted

    for name, attack in ATTACKS.items():
        monkeypatch.setattr(attack, "attempt", watched(name, attack.attempt))
    with pytest.raises(Interrupted):
        stress(workspace=tiny_policy.workspace)
    costs: list[AttackCost] = []
    found = stress(workspace=tiny_policy.workspace, announce=costs.extend).stress.results
    names = ["linear_probe", "ablate", "prune", "endure", "format", "generate", "gcg"]
    assert [result.attack for result in found] == names
    # Two attempts an attack: five and a half were made before it was killed, and none of those again.
    assert made[:5] == ["linear_probe", "linear_probe", "ablate", "ablate", "prune"]
    assert set(made[6:]) <= {"prune", "endure", "format", "generate", "gcg"}
    assert (costs[-1].prefixes, costs[-1].searched) == (16, 2)
    measured = {result.attack: set(result.found.get("edited", {})) for result in found}
    assert "samples_sha256" in measured["generate"]
    assert "prefix_sha256" in measured["gcg"]
    assert not list(tiny_policy.workspace.glob("runs/*/attacking"))


def test_models_attacked_at_once_leave_the_process_as_it_was_and_say_the_same_as_in_turn(
    attacked: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVERN_CACHE", str(attacked.workspace / "cache"))
    threads, loggers = torch.get_num_threads(), [logging.getLogger(name) for name in ("lm_eval", "transformers")]
    before = (datasets.config.HF_HUB_OFFLINE, lm_eval.api.task.tqdm, [logger.level for logger in loggers])
    found = []
    for number in (2, 1):
        torch.set_num_threads(number)
        found.append(stress(workspace=attacked.workspace).stress.results)
        monkeypatch.setenv("GOVERN_CACHE", str(attacked.workspace / f"cache{number}"))
    torch.set_num_threads(threads)
    assert (datasets.config.HF_HUB_OFFLINE, lm_eval.api.task.tqdm, [logger.level for logger in loggers]) == before
    at_once, in_turn = ([each.model_dump(exclude={"seconds"}) for each in results] for results in found)
    assert at_once == in_turn


def test_a_policy_without_attacks_says_so_and_its_verdict_keeps_its_form(tiny_policy: TinyPolicy) -> None:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    verified = govern.verify(workspace=tiny_policy.workspace)
    assert "stress" not in verified.verdict.to_json()
    assert "No attack was tried" in verified.run.path("report.html").read_text()


def test_a_run_without_its_weights_is_refused_in_words(attacked: TinyPolicy) -> None:
    govern.verify(workspace=attacked.workspace)
    prune(attacked.workspace, find_prunable(attacked.workspace, keep=0))
    with pytest.raises(UsageError, match="pruned"):
        stress(workspace=attacked.workspace)


def test_the_command_tries_them_again_and_leaves_the_report_alone(attacked: TinyPolicy) -> None:
    govern.verify(workspace=attacked.workspace)
    costs = []
    first = stress(workspace=attacked.workspace, announce=costs.extend)
    second = stress(workspace=attacked.workspace)
    assert (first.path.parent.name, second.path.parent.name) == ("001", "002")
    assert [(cost.steps, cost.questions) for cost in costs] == [(2, 16), (0, 16), (0, 32), (0, 16)]
    stored = Stress.parse(first.path.read_bytes())
    assert stored == first.stress

    def facts(found: Stress) -> list[dict[str, object]]:
        return [result.model_dump(exclude={"seconds"}) for result in found.results]

    assert facts(first.stress) == facts(second.stress)
    with Log.open(attacked.workspace / "audit.db", create=False) as log:
        kinds = [stored.event.type for stored in log.events(run=first.run.id)]
    assert kinds[-4:] == ["stress.started", "stress.finished", "stress.started", "stress.finished"]
    audited = audit(attacked.workspace)
    assert audited.reports == 1


def test_an_answer_is_asked_for_anew_where_what_computed_it_has_another_version(
    tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import govern.workflow.environment as environment

    attack = "{attack: quantise, bits: 4, questions: 8}"
    tiny_policy.path.write_text(tiny_policy.path.read_text().rstrip() + f"\n  stress: [{attack}]\n")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    monkeypatch.setenv("GOVERN_CACHE", str(tiny_policy.workspace / "cache"))
    monkeypatch.setattr(environment, "_checkout", lambda: ("f" * 40, False))  # else nothing outlives a run
    attempt, made = ATTACKS["quantise"].attempt, []
    monkeypatch.setattr(ATTACKS["quantise"], "attempt", lambda *arguments: made.append(1) or attempt(*arguments))
    stress(workspace=tiny_policy.workspace)
    stress(workspace=tiny_policy.workspace)
    assert len(made) == 3  # the base model's answer is kept, the edited one's is not
    for package in ("torchao", "peft", "scikit-learn", "optimum-quanto"):
        assert package in environment.describe_environment("cpu").packages
        known = environment._version
        monkeypatch.setattr(
            environment, "_version", lambda name, package=package, known=known: "99" if name == package else known(name)
        )
        made.clear()
        stress(workspace=tiny_policy.workspace)
        assert len(made) == 2
