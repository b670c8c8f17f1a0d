"""A ceiling: what the edited model may still know. The accuracy afterwards is at most the threshold."""

from __future__ import annotations

from govern.gates import accuracy
from govern.gates.kind import Gate, percent

KIND = Gate(
    name="ceiling",
    group="forget",
    rule="at most",
    bounded="the accuracy after",
    passes="upper",
    title="The removed knowledge is gone",
    text="The upper bound of the accuracy after the removal is at most the ceiling.",
    passed="it is at most {bound}, within the ceiling of {threshold}",
    failed="it is still at least {bound}, above the ceiling of {threshold}",
    between="the ceiling of {threshold} lies between the bounds {lower} and {upper}",
    found=lambda _, after: after,
    afterwards=lambda _, value: value,
    bounds=accuracy.bounds,
    facts=accuracy.facts,
    method=accuracy.method,
    form=percent,
    doubts=accuracy.doubts,
)
