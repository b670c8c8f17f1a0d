"""A ceiling: what the edited model may still know of what has to go."""

from __future__ import annotations

from govern.gates.accuracy import Accuracy


class Ceiling(Accuracy):
    """The accuracy afterwards is at most the threshold."""

    name = "ceiling"
    group = "forget"
    rule = "at most"
    passes = "upper"
    title = "The removed knowledge is gone"
    text = "The upper bound of the accuracy after the removal is at most the ceiling."
    passed = "it is at most {bound}, within the ceiling of {threshold}"
    failed = "it is still at least {bound}, above the ceiling of {threshold}"
    between = "the ceiling of {threshold} lies between the bounds {lower} and {upper}"


KIND = Ceiling()
