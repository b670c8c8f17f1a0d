"""A largest drop: how much accuracy, before − after, the edited model may lose, question by question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.evaluation.answers import Answers
from govern.gates import accuracy
from govern.gates.kind import Gate

if TYPE_CHECKING:
    from govern.evaluation.bounds import Bounds


def _bounds(before: Answers, after: Answers, confidence: float, times: float) -> Bounds:
    from govern.evaluation.bounds import drop_bounds

    return drop_bounds(before.correct, after.correct, after.clusters, confidence=confidence, times=times)


def _facts(before: Answers, after: Answers, estimate: float) -> str:
    lost = sum(first and not second for first, second in zip(before.correct, after.correct, strict=True))
    gained = sum(second and not first for first, second in zip(before.correct, after.correct, strict=True))
    asked = accuracy.questions(after)
    return f"of {asked}, {lost} were lost and {gained} gained, a drop of {_points(estimate)} percentage points"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


KIND = Gate(
    name="max_drop",
    rule="drop at most",
    bounded="the drop",
    passes="upper",
    unit="points",
    change=True,
    title="The kept ability did not drop",
    text="The upper bound of the paired drop is at most what the policy allows.",
    passed="the drop is at most {bound} points, within the {threshold} allowed",
    failed="the drop is at least {bound} points, more than the {threshold} allowed",
    between="the {threshold} points allowed lie between the bounds {lower} and {upper}",
    found=lambda before, after: before - after,
    afterwards=lambda before, drop: before - drop,
    bounds=_bounds,
    facts=_facts,
    method=lambda after: (
        "Tango's paired score bound"
        + ("" if after.clusters is None else " at the effective number of pairs (clustered)")
    ),
    form=_points,
    doubts=accuracy.doubts,
)
