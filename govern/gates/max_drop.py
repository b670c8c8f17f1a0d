"""A largest drop: how much accuracy the edited model may lose, question by question."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from govern.evaluation.answers import Answers
from govern.gates.accuracy import OnAnswers, questions
from govern.records import GateResult

if TYPE_CHECKING:
    from govern.evaluation.bounds import Bounds


class MaxDrop(OnAnswers):
    """The drop in accuracy, before − after, is at most the threshold."""

    name = "max_drop"
    rule = "drop at most"
    bounded = "the drop"
    passes = "upper"
    unit = "points"
    change = True
    title = "The kept ability did not drop"
    text = "The upper bound of the paired drop is at most what the policy allows."
    passed = "the drop is at most {bound} points, within the {threshold} allowed"
    failed = "the drop is at least {bound} points, more than the {threshold} allowed"
    between = "the {threshold} points allowed lie between the bounds {lower} and {upper}"

    def found(self, before: float, after: float) -> float:
        """The drop."""
        return before - after

    def afterwards(self, before: float, value: float) -> float:
        """The accuracy that a drop leaves."""
        return before - value

    def allowed(self, gate: GateResult) -> tuple[float, float]:
        """A drop of at most so much leaves at least the rest."""
        return self.afterwards(gate.before, gate.threshold), math.inf

    def bounds(self, before: Answers, after: Answers, *, confidence: float, times: float) -> Bounds:
        """Bounds on the drop."""
        from govern.evaluation.bounds import drop_bounds

        return drop_bounds(before.correct, after.correct, after.clusters, confidence=confidence, times=times)

    def facts(self, before: Answers, after: Answers, estimate: float) -> str:
        """How many questions were lost and gained, and the drop that this makes."""
        lost = sum(first and not second for first, second in zip(before.correct, after.correct, strict=True))
        gained = sum(second and not first for first, second in zip(before.correct, after.correct, strict=True))
        return (
            f"of {questions(after)}, {lost} were lost and {gained} gained, "
            f"a drop of {self.form(estimate)} percentage points"
        )

    def method(self, after: Answers) -> str:
        """Tango's bound."""
        clustered = "" if after.clusters is None else " at the effective number of pairs (clustered)"
        return f"Tango's paired score bound{clustered}"

    def form(self, value: float) -> str:
        """Percentage points, without their name."""
        return f"{100 * value:.1f}"


KIND = MaxDrop()
