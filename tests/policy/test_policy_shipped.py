"""The policies that travel with the package, and the schema that editors use."""

import json
import math

import pytest

from govern.policy import PerplexityGate, TaskGate, json_schema, load_policy
from govern.shipped import shipped

POLICIES = shipped("policies")
HAZARDS = ["bio_hazard", "bio_hazard_high", "cyber_hazard", "cyber_hazard_high"]

# (SRMU's accuracy on the hazard, questions, MMLU after), the paper's tables 2 and 3
PUBLISHED = {
    "bio_hazard": (0.285, 1273, 0.571),
    "cyber_hazard": (0.258, 1987, 0.571),
    "bio_hazard_high": (0.3826, 1273, 0.525),
    "cyber_hazard_high": (0.3714, 1987, 0.525),
}


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_policy_is_valid_and_known_to_editors(path):
    assert load_policy(path).policy.name == path.stem.replace("_", "-")
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=./schema.json"


def test_the_schema_file_is_current():
    current = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert (POLICIES / "schema.json").read_text() == current, "run: govern policy schema > policies/schema.json"


@pytest.mark.parametrize("name", HAZARDS)
def test_the_hazards_have_the_papers_settings(name):
    policy = load_policy(POLICIES / f"{name}.yaml").policy
    removal = policy.removal.model_dump(mode="json")
    assert policy.model.source == "hf:HuggingFaceH4/zephyr-7b-beta"
    assert removal["coefficient"] == {"sweep": {"start": 1, "stop": 170, "step": 10}}
    expected = {"layer": 7, "retain_weight": 1200, "learning_rate": 5e-5, "batch_size": 4, "steps": 150}
    assert {key: removal[key] for key in expected} == expected
    assert removal["train"] == {"modules": ["mlp.down_proj"], "layers": [5, 6, 7]}
    tokens = 512 if name.startswith("bio") else 768
    assert {text.max_tokens for text in (*policy.forget, *policy.retain)} == {tokens}
    entangled = policy.retain[0].source == "hf:cais/wmdp-corpora"
    assert entangled == name.endswith("_high")


def test_both_hazards_at_once_are_the_two_of_them():
    both, *single = (
        load_policy(POLICIES / f"{name}.yaml").policy for name in ("bio_cyber_hazard", "bio_hazard", "cyber_hazard")
    )
    assert [text.topic for text in both.forget] == ["bio", "cyber"]
    assert [text.topic for text in both.retain] == [None]
    assert [text.identity(text.source) for text in both.forget] == [
        text.identity(text.source) for policy in single for text in policy.forget
    ]
    assert both.removal == single[0].removal == single[1].removal
    assert both.verification.forget == tuple(gate for policy in single for gate in policy.verification.forget)
    assert both.verification.utility == single[0].verification.utility == single[1].verification.utility


@pytest.mark.parametrize("name", HAZARDS)
def test_the_hazards_gates_can_be_met_by_what_the_paper_reports_and_not_by_much_less(name):
    verification = load_policy(POLICIES / f"{name}.yaml").policy.verification
    hazard, questions, mmlu = PUBLISHED[name]
    certifying = 1 - verification.selection.share

    def half_width(accuracy: float, n: float) -> float:
        return 1.645 * math.sqrt(accuracy * (1 - accuracy) / (n * certifying))

    [gate] = verification.forget
    assert hazard + half_width(hazard, questions) < gate.ceiling < hazard + 2.5 * half_width(hazard, questions)
    [utility] = [gate for gate in verification.utility if isinstance(gate, TaskGate)]
    assert utility.floor is not None
    assert utility.max_drop is not None
    assert mmlu - 3 * half_width(mmlu, 14042) < utility.floor < mmlu - half_width(mmlu, 14042)
    assert 0.585 - mmlu < utility.max_drop
    assert any(isinstance(gate, PerplexityGate) for gate in verification.utility)
