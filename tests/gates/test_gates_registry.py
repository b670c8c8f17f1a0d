"""What every kind of gate says of itself, and what a policy's thresholds come to."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import get_args

import pytest

from govern.gates.registry import GATES, KINDS, Threshold, hold
from govern.policy.gates import VerificationPlan
from govern.records import GateKind, GateResult, Interval, LimitKind

WIDE = Interval(low=0.0, high=1.0)


def gate(kind: str, before: float, after: float, threshold: float) -> GateResult:
    return GateResult(
        task="secret", metric="acc", kind=kind, n=100, clusters=None, before=before, before_interval=WIDE, after=after,
        after_interval=WIDE, bound=0.5, threshold=threshold, method="", verdict="pass", reason="",
    )  # fmt: skip


def test_every_name_of_a_record_is_a_kind():
    assert tuple(KINDS) == get_args(LimitKind)
    assert tuple(GATES) == get_args(GateKind)
    assert all(kind.name == name for name, kind in KINDS.items())


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(("before", "after", "threshold"), [(0.9, 0.3, 0.4), (0.9, 0.8, 0.4), (0.5, 0.52, 0.02)])
def test_the_chart_shows_as_allowed_what_the_estimate_says(kind, before, after, threshold):
    found = gate(kind, before, after, threshold)
    low, high = GATES[kind].allowed(found)
    assert (low <= after <= high) == (GATES[kind].excess(found) <= 0)
    assert math.isinf(low) != math.isinf(high)


@pytest.mark.parametrize(
    ("kind", "verdict", "name"),
    [
        ("ceiling", "pass", "Upper bound of the accuracy after"),
        ("ceiling", "fail", "Lower bound of the accuracy after"),
        ("floor", "pass", "Lower bound of the accuracy after"),
        ("floor", "fail", "Upper bound of the accuracy after"),
        ("max_drop", "inconclusive", "Upper bound of the drop"),
        ("max_increase", "fail", "Lower bound of the rise"),
        ("max_recovery", "pass", "Upper bound of what came back"),
    ],
)
def test_the_bound_that_decided_is_named(kind, verdict, name):
    assert KINDS[kind].bound_name(verdict) == name


def test_a_policy_lists_its_thresholds_in_order():
    verification = VerificationPlan.model_validate_json(
        """{"forget": [{"task": "secret", "ceiling": 0.4}],
            "utility": [{"task": "colour", "metric": "acc_norm", "floor": 0.5, "max_drop": 0.1},
                        {"task": "wikitext", "max_increase": 0.02}, {"perplexity": "self:", "max_increase": 0.1}]}"""
    )
    assert list(verification.thresholds()) == [
        Threshold("ceiling", 0.4, "secret", "acc", False, ("forget", 0)),
        Threshold("floor", 0.5, "colour", "acc_norm", False, ("utility", 0)),
        Threshold("max_drop", 0.1, "colour", "acc_norm", False, ("utility", 0)),
        Threshold("max_increase", 0.02, "wikitext", "perplexity", False, ("utility", 1)),
        Threshold("max_increase", 0.1, "self:", "perplexity", True, ("utility", 2)),
    ]
    assert hold(verification.thresholds(), lambda _: None, confidence=0.95) == ()


def test_a_kind_is_told_without_numerical_libraries():
    code = "import sys, govern.gates.registry; print(sorted({'torch', 'scipy', 'numpy', 'lm_eval'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
