"""How a sweep's points are held against a policy, and which one is taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.evaluation.answers import Answers
from govern.gates.choice import choose, score, standing
from govern.gates.registry import GATES
from govern.records import GateResult, Interval, Score, SweepPoint

WIDE = Interval(low=0.0, high=1.0)


def gate(kind: str, before: float, after: float, threshold: float, verdict: str = "inconclusive") -> GateResult:
    return GateResult.model_validate(
        {
            "task": "symbols", "metric": "acc", "kind": kind, "n": 100, "clusters": None, "before": before,
            "before_interval": WIDE, "after": after, "after_interval": WIDE, "bound": 0.5, "threshold": threshold,
            "method": "", "verdict": verdict, "reason": "",
        }
    )  # fmt: skip


def point(number: int, forget: float | None, utility: float | None, how: str = "bound", **changes: Any) -> SweepPoint:
    def scored(value: float | None) -> Score | None:
        return None if value is None else Score(value=value, interval=WIDE, n=100)

    after = 1.0 if forget is None else forget
    fields: dict[str, Any] = {
        "number": number,
        "group": "grid",
        "label": "",
        "settings": {},
        "error": "broke off" if forget is None else None,
        "gates": () if forget is None else (gate("ceiling", 0.9, after, 0.4),),
        "forget": scored(forget),
        "utility": scored(utility),
        "standing": how,
        "change_norm": 1.0,
        "target_norm": 1.0,
        "delta_sha256": None,
        "edit_seconds": 0.0,
        "score_seconds": 0.0,
    }
    return SweepPoint(**{**fields, **changes})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (gate("ceiling", 0.9, 0.45, 0.40), 0.05),
        (gate("floor", 0.9, 0.45, 0.50), 0.05),
        (gate("max_drop", 0.9, 0.80, 0.02), 0.08),
        (gate("max_increase", 40.0, 42.0, 0.02), 0.03),
        (gate("max_increase", 40.0, 40.0, 0.02), -0.02),
    ],
)
def test_how_far_an_estimate_misses(found: GateResult, expected: float) -> None:
    assert GATES[found.kind].excess(found) == pytest.approx(expected)


def test_bounds_count_for_more_than_estimates() -> None:
    sure, likely = gate("ceiling", 0.9, 0.3, 0.4, "pass"), gate("floor", 0.9, 0.85, 0.8)
    missed = gate("floor", 0.9, 0.75, 0.8)
    assert standing([sure, sure]) == "bound"
    assert standing([sure, likely]) == "estimate"
    assert standing([sure, missed]) == "none"


def test_the_highest_utility_among_the_best_standing_is_taken() -> None:
    points = [
        point(0, 0.30, 0.99, "none"), point(1, 0.35, 0.95, "estimate"), point(2, 0.25, 0.90, "bound"),
        point(3, 0.20, 0.91, "bound"), point(4, None, None, "none"),
    ]  # fmt: skip
    found = choose(points)
    assert found.chosen == 3
    assert "2 of 5 points qualify" in found.reason
    assert choose(points[:2] + points[4:]).chosen == 1


def test_ties_go_to_the_smaller_change() -> None:
    points = [point(0, 0.3, 0.9, change_norm=2.0), point(1, 0.2, 0.9, change_norm=1.0)]
    assert choose(points).chosen == 1


def test_under_attack_what_withstands_best_is_taken_and_belongs_to_the_front() -> None:
    def withstood(value: float) -> Score:
        return Score(value=value, interval=WIDE, n=50)

    points = [
        point(0, 0.25, 0.95, attacked=withstood(0.8)), point(1, 0.30, 0.90, attacked=withstood(0.4)),
        point(2, 0.30, 0.92, attacked=withstood(0.4)), point(3, 0.30, 0.90),
        point(4, 0.20, 0.90, "none", attacked=withstood(0.1)),
    ]  # fmt: skip
    found = choose(points)
    assert found.chosen == 2
    assert found.front == (0, 2, 4)
    assert "the least left after the attack among them (40.0 %)" in found.reason
    assert "with a utility of 92.0 % and 30.0 % left" in found.reason
    assert "the least left after the attack" in found.rule
    assert "attack" not in choose(points[3:4]).rule


def test_where_nothing_qualifies_the_nearest_is_named_and_doubt_is_told_from_failure() -> None:
    missing = [point(0, 0.6, 0.9, "none"), point(1, 0.45, 0.8, "none"), point(2, None, None, "none")]
    found = choose(missing)
    assert (found.chosen, found.nearest, found.undecided) == (None, 1, True)
    assert "misses its ceiling of 40.0 % by 5.0 points" in found.reason
    failed = [
        each.model_copy(update={"gates": tuple(g.model_copy(update={"verdict": "fail"}) for g in each.gates)})
        for each in missing
    ]
    assert not choose(failed).undecided
    assert choose(missing[2:]).reason == "All 1 points broke off."


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats_and_all_else_is_beaten_by_it(places: list[tuple[int, int]]) -> None:
    points = [point(number, forget / 5, utility / 5) for number, (forget, utility) in enumerate(places)]
    front = choose(points).front

    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    assert front
    for number, place in enumerate(places):
        beaten = any(beats(places[other], place) for other in front)
        assert beaten == (number not in front)


def test_several_sets_are_pooled_by_question_and_facts_stay_apart() -> None:
    def answers(task: str, right: list[bool], clusters: list[str] | None) -> Answers:
        n = len(right)
        return Answers(
            task=task, metric="acc", kind="cloze", ids=tuple(f"{task}{i}" for i in range(n)),
            clusters=tuple(clusters) if clusters else None, parts=("selection",) * n, correct=tuple(right),
            chosen=(0,) * n, choices=(4,) * n,
        )  # fmt: skip

    first, second = answers("a", [True, False], ["x", "x"]), answers("b", [True, True, True], ["x", "y", "z"])
    pooled = score([first, second], confidence=0.95)
    assert (pooled.value, pooled.n) == (0.8, 5)
    alone = score([answers("a", [True] * 30 + [False] * 10, None)], confidence=0.95)
    clustered = score([answers("a", [True] * 30 + [False] * 10, [str(i // 10) for i in range(40)])], confidence=0.95)
    assert clustered.interval.low < alone.interval.low
    assert clustered.interval.high > alone.interval.high
