"""A floor: what the edited model must still know."""

from __future__ import annotations

from govern.evaluation.answers import Answers
from govern.gates.accuracy import Accuracy
from govern.gates.kind import percent


class Floor(Accuracy):
    """The accuracy afterwards is at least the threshold."""

    name = "floor"
    rule = "at least"
    passes = "lower"
    title = "The kept ability is there"
    text = "The lower bound of the accuracy after the removal is at least the floor."
    passed = "it is at least {bound}, above the floor of {threshold}"
    failed = "it is at most {bound}, below the floor of {threshold}"
    between = "the floor of {threshold} lies between the bounds {lower} and {upper}"

    def doubts(self, before: Answers, after: Answers, *, threshold: float, confidence: float) -> list[str]:
        """What every pass on answers is doubted for, and a floor that guessing reaches."""
        found = super().doubts(before, after, threshold=threshold, confidence=confidence)
        if threshold <= after.chance:
            found.append(f"A floor of {percent(threshold)} is no higher than chance ({percent(after.chance)}).")
        return found


KIND = Floor()
