"""Entanglement in a plan, and two bodies of knowledge in one removal."""

from __future__ import annotations

import json

import pytest
from tiny_policy import TinyPolicy

import govern
from govern.records import Plan


def test_a_plan_reports_overlap_and_warns_where_it_is_high(tiny_policy: TinyPolicy) -> None:
    tiny_policy.replace('  - {source: "self:", documents: 8, max_tokens: 16, seed: 1}\n', "")

    def plan_with(text: str) -> Plan:
        (tiny_policy.path.parent / "retain.jsonl").write_text(json.dumps({"text": text}) + "\n")
        return govern.plan(govern.load_policy(tiny_policy.path)).plan

    low, high = (
        plan_with("Bread needs flour, water, salt."),
        plan_with("The lock of my bicycle opens with a small turn."),
    )
    assert (low.overlap[0].unigram, low.overlap[0].warn) == (0.0, False)
    assert not any("entanglement" in warning for warning in low.warnings)
    assert high.overlap[0].unigram >= 0.2
    (warning,) = (warning for warning in high.warnings if "entanglement" in warning)
    assert f"{high.overlap[0].unigram:.0%}" in warning


@pytest.mark.parametrize("solver", ["gradient", "closed_form"])
def test_two_topics_are_removed_in_one_run_each_towards_its_own_target(tiny_policy: TinyPolicy, solver: str) -> None:
    folder = tiny_policy.path.parent
    rows = [json.dumps({"text": f"The code of safe {n} is {n * 11 % 97} and then a pause."}) for n in range(12)]
    (folder / "safes.jsonl").write_text("\n".join(rows) + "\n")
    tiny_policy.replace(
        '  - {source: "file:forget.jsonl", max_tokens: 24}\n',
        '  - {source: "file:forget.jsonl", max_tokens: 24, topic: vaults}\n'
        '  - {source: "file:safes.jsonl", max_tokens: 24, topic: safes}\n',
    )
    if solver == "closed_form":
        tiny_policy.replace("solver: gradient", "solver: closed_form")
        tiny_policy.replace("  steps: 12\n", "").replace("  learning_rate: 1e-2\n", "")
    tiny_policy.replace("coefficient: 5", "coefficient: {relative: 2}")
    applied = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    assert [entry.topic for entry in applied.plan.overlap] == ["vaults", "safes"]
    figures = applied.removal.figures
    assert figures["vaults.coefficient"] != figures["safes.coefficient"]
    assert figures["vaults.target_norm"] != figures["safes.target_norm"]
    topics = [point.topic for point in applied.removal.curve]
    assert topics == ["vaults", "safes"] * (len(topics) // 2)
