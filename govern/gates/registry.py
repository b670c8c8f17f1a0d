"""All kinds of limit by name, and a policy's gates held against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from govern.gates.kind import Gate, LimitWords
from govern.records import GateKind, GateResult, LimitKind

KINDS: dict[str, LimitWords] = {name: import_module(f"govern.gates.{name}").KIND for name in get_args(LimitKind)}
"""What every kind says of itself: `records.verdict` lists their names, and each is a module of this room."""

GATES: dict[str, Gate[Any]] = {name: kind for name, kind in KINDS.items() if isinstance(kind, Gate)}
"""The kinds that hold a number from before and after a removal against a threshold."""


@dataclass(frozen=True)
class Threshold:
    """One threshold of a policy.

    It is on the question set or official text `task`, or with `held_back` on the policy's own text from that source.
    `place` is where its gate stands under the policy's `verification`.
    """

    kind: GateKind
    value: float
    task: str
    metric: Literal["acc", "acc_norm", "perplexity"]
    held_back: bool
    place: tuple[Literal["forget", "utility"], int]


def hold(
    thresholds: Iterable[Threshold],
    measured: Callable[[Threshold], tuple[Any, Any] | None],
    *,
    confidence: float,
    failing: float | None = None,
) -> tuple[GateResult, ...]:
    """Hold every threshold against what was `measured` before and after; where that is None, nothing is decided.

    `failing` is the confidence of the bounds that fail a gate, by default that of all. Raises as `Gate.judge` does.
    """
    return tuple(
        GATES[each.kind].judge(*pair, threshold=each.value, confidence=confidence, failing=failing)
        for each in thresholds
        if (pair := measured(each)) is not None
    )
