"""`plan` refuses attacks that cannot be made, at their place in the policy, so that `verify` does not find out late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from other_shapes import make
from tiny_models import tiny_tokenizer
from tiny_policy import TinyPolicy, questions, write_jsonl

import govern
from govern.errors import PolicyError
from govern.stress.attack import Conditions
from govern.stress.weights import without_weights
from govern.workflow.removal.attackable import refuse_impossible_attacks
from govern.workflow.removal.plan import question_sets


def planned(policy: TinyPolicy, stress: str, facts: int) -> object:
    write_jsonl(policy.path.parent / "secret.jsonl", questions("secret", 2 * facts))
    policy.path.write_text(policy.path.read_text().rstrip() + f"\n  stress: {stress}\n")
    return govern.plan(govern.load_policy(policy.path))


def place(policy: TinyPolicy, text: str) -> str:
    lines = policy.path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if text in line)
    return f"{policy.path}:{number + 1}:{lines[number].index(text) + len(text) + 1}"


def test_a_task_of_three_facts_cannot_be_attacked(tiny_policy: TinyPolicy) -> None:
    with pytest.raises(PolicyError, match="3 certifying facts, too few") as caught:
        planned(tiny_policy, "[standard]", 3)
    assert caught.value.where == place(tiny_policy, "task: ")


def test_four_facts_are_enough_and_without_attacks_none_are_needed(tiny_policy: TinyPolicy) -> None:
    assert planned(tiny_policy, "[standard]", 4)
    tiny_policy.replace("stress: [standard]", "stress: []")
    write_jsonl(tiny_policy.path.parent / "secret.jsonl", questions("secret", 2))
    assert govern.plan(govern.load_policy(tiny_policy.path))


def test_a_stage_that_needs_more_than_the_retain_text_is_refused(tiny_policy: TinyPolicy) -> None:
    with pytest.raises(PolicyError, match="needs 21 documents, and the retain text has 20") as caught:
        planned(tiny_policy, "[{attack: endure, stages: [5, 21]}]", 4)
    assert caught.value.where == place(tiny_policy, "stages: ")
    tiny_policy.replace("[5, 21]", "[5, 20]")
    assert govern.plan(govern.load_policy(tiny_policy.path))


def test_a_chat_with_a_model_that_has_no_template_is_refused(tiny_policy: TinyPolicy) -> None:
    with pytest.raises(PolicyError, match="no chat template") as caught:
        planned(tiny_policy, "[{attack: format, form: chat}]", 4)
    assert caught.value.where == place(tiny_policy, "form: ")


@pytest.mark.parametrize(
    ("kind", "entry", "place_of", "said"),
    [
        (
            "mixtral",
            "{attack: prune, sparsity: 0.5, criterion: wanda, max_recovery: 0.5}",
            "max_recovery: ",
            "prune 50% by wanda: the attack would decide nothing: its coverage is ",
        ),
        ("mamba", "standard", "stress: [", "rank 128: no adapter fits this model"),
        ("mixtral", "{attack: prune, sparsity: 0.5, criterion: wanda}", "", ""),
        ("mixtral", "standard", "", ""),
        ("gpt2", "standard", "", ""),
        ("opt", "standard", "", ""),
        ("gpt2", "{attack: quantise, bits: 4, max_recovery: 0.5}", "", ""),
    ],
)
def test_what_an_attack_cannot_reach_is_known_from_the_models_shape(
    tiny_policy: TinyPolicy, kind: str, entry: str, place_of: str, said: str
) -> None:
    model = make(kind, 400)
    tiny_policy.path.write_text(tiny_policy.path.read_text().rstrip() + f"\n  stress: [{entry}]\n")
    loaded = govern.load_policy(tiny_policy.path)
    conditions = Conditions(tiny_tokenizer(), 20, lambda: model)
    if not said:
        refuse_impossible_attacks(loaded, question_sets(loaded), conditions)
        return
    with pytest.raises(PolicyError) as caught:
        refuse_impossible_attacks(loaded, question_sets(loaded), conditions)
    assert said in caught.value.message
    assert caught.value.where == place(tiny_policy, place_of)


def test_a_model_is_built_from_its_config_without_a_weight(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = without_weights(tiny_checkpoint("llama"), trust_remote_code=False)
    assert all(parameter.is_meta for parameter in model.parameters())
