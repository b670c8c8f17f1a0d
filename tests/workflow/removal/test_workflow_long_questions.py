"""A plan says which question sets are too long for its model, and refuses those that mostly are."""

from __future__ import annotations

import json

import pytest
from tiny_policy import TinyPolicy

import govern
from govern.errors import PolicyError


def lengthen(policy: TinyPolicy, count: int) -> int:
    """Make so many of the questions of `secret` longer than the model's 1,024 tokens."""
    path = policy.path.parent / "secret.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:count]:
        row["question"] = "Pack my box with five dozen liquor jugs. " * 120 + row["question"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)


def test_a_plan_refuses_questions_that_lose_their_beginning(tiny_policy: TinyPolicy):
    total = lengthen(tiny_policy, 8)
    with pytest.raises(PolicyError, match=f"8 of the {total} questions of secret are longer") as raised:
        govern.plan(govern.load_policy(tiny_policy.path))
    assert raised.value.where.startswith(f"{tiny_policy.path}:")


def test_a_plan_warns_of_a_few(tiny_policy: TinyPolicy):
    total = lengthen(tiny_policy, 1)
    warnings = govern.plan(govern.load_policy(tiny_policy.path)).plan.warnings
    assert any(warning.startswith(f"1 of the {total} questions of secret are longer") for warning in warnings)
