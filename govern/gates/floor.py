"""A floor: what the edited model must still know. The accuracy afterwards is at least the threshold."""

from __future__ import annotations

from govern.evaluation.answers import Answers
from govern.gates import accuracy
from govern.gates.kind import Gate, percent


def _doubts(before: Answers, after: Answers, threshold: float, confidence: float) -> list[str]:
    found = accuracy.doubts(before, after, threshold, confidence)
    if threshold <= after.chance:
        found.append(f"A floor of {percent(threshold)} is no higher than chance ({percent(after.chance)}).")
    return found


KIND = Gate(
    name="floor",
    rule="at least",
    bounded="the accuracy after",
    passes="lower",
    title="The kept ability is there",
    text="The lower bound of the accuracy after the removal is at least the floor.",
    passed="it is at least {bound}, above the floor of {threshold}",
    failed="it is at most {bound}, below the floor of {threshold}",
    between="the floor of {threshold} lies between the bounds {lower} and {upper}",
    found=lambda _, after: after,
    afterwards=lambda _, value: value,
    bounds=accuracy.bounds,
    facts=accuracy.facts,
    method=accuracy.method,
    form=percent,
    doubts=_doubts,
)
