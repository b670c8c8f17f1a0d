"""Choosing among a sweep's points, on selection questions alone: what stands, what leads, and what is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from govern.evaluation.answers import Answers
from govern.gates.registry import GATES
from govern.records import GateResult, Score, Standing, SweepPoint

RULE = (
    "Among the points whose confidence bounds keep to every threshold of the policy on the selection questions, the "
    "one with the highest utility; where there is none, among those whose estimates do. Ties go to the smaller ‖ΔW‖."
)
RULE_UNDER_ATTACK = (
    "Among the points whose confidence bounds keep to every threshold of the policy on the selection questions, the "
    "one with the least left after the attack; where there is none, among those whose estimates do. Ties go to the "
    "higher utility, then to the smaller ‖ΔW‖."
)


@dataclass(frozen=True)
class Choice:
    """Which point was taken and why; with `chosen` None, which one came nearest. `undecided`: more questions could
    still show that some point qualifies."""

    front: tuple[int, ...]
    chosen: int | None
    nearest: int | None
    rule: str
    reason: str
    undecided: bool


def score(several: Sequence[Answers], *, confidence: float) -> Score:
    """The accuracy over all questions of several sets together; questions about one thing count as a cluster."""
    from govern.evaluation.results import interval

    clusters = tuple(f"{answers.task}/{name}" for answers in several for name in (answers.clusters or answers.ids))
    first = several[0]
    pooled = first.model_copy(
        update={
            "ids": tuple(name for answers in several for name in answers.ids),
            "clusters": clusters if any(answers.clusters for answers in several) else None,
            "parts": tuple(part for answers in several for part in answers.parts),
            "correct": tuple(right for answers in several for right in answers.correct),
            "chosen": tuple(chosen for answers in several for chosen in answers.chosen),
            "choices": tuple(choices for answers in several for choices in answers.choices),
            "subjects": None,
        }
    )
    return Score(value=pooled.accuracy, interval=interval(pooled, confidence=confidence), n=len(pooled.ids))


def standing(gates: Iterable[GateResult]) -> Standing:
    """How a point stands against the policy's thresholds."""
    gates = tuple(gates)
    if all(gate.verdict == "pass" for gate in gates):
        return "bound"
    return "estimate" if all(_excess(gate) <= 0 for gate in gates) else "none"


def choose(points: Sequence[SweepPoint]) -> Choice:
    """Apply `RULE`, or `RULE_UNDER_ATTACK` where points were attacked. Points that broke off are never chosen."""
    attacked = any(point.attacked for point in points)
    rule = RULE_UNDER_ATTACK if attacked else RULE
    scored = [point for point in points if point.forget and point.utility]
    front = tuple(point.number for point in scored if not any(_beats(other, point) for other in scored))
    for level, words in (("bound", "confidence bounds keep"), ("estimate", "estimates, not bounds, keep")):
        standing_here = [point for point in scored if point.standing == level]
        if standing_here:
            best = min(standing_here, key=_rank)
            lead = f"the highest utility among them ({_percent(_utility(best))}), with"
            if attacked:
                lead = (
                    f"the least left after the attack among them ({_percent(_attacked(best))}), with a utility of "
                    f"{_percent(_utility(best))} and"
                )
            return Choice(
                front,
                best.number,
                None,
                rule,
                f"{len(standing_here)} of {len(points)} points qualify: their {words} to every threshold on the "
                f"selection questions. Point {best.number} has {lead} {_percent(_forget(best))} left of what has to "
                "go.",
                undecided=False,
            )
    if not scored:
        return Choice(front, None, None, rule, f"All {len(points)} points broke off.", undecided=False)
    nearest = min(scored, key=lambda point: (_miss(point), -_utility(point), point.number))
    worst = max(nearest.gates, key=_excess)
    return Choice(
        front,
        None,
        nearest.number,
        rule,
        f"None of {len(points)} points keeps to every threshold on the selection questions. Point {nearest.number} "
        f"comes nearest: {worst.task} misses its {worst.kind.replace('_', ' ')} of {_percent(worst.threshold)} by "
        f"{100 * _excess(worst):.1f} points.",
        undecided=any(all(gate.verdict != "fail" for gate in point.gates) for point in scored),
    )


def _excess(gate: GateResult) -> float:
    return GATES[gate.kind].excess(gate)


def _beats(other: SweepPoint, point: SweepPoint) -> bool:
    gains = (
        _forget(point) - _forget(other),
        _utility(other) - _utility(point),
        _attacked(point) - _attacked(other),
    )
    return min(gains) >= 0 and max(gains) > 0


def _rank(point: SweepPoint) -> tuple[float, float, float, int]:
    """What leads among points that qualify, smallest first."""
    return _attacked(point), -_utility(point), point.change_norm or 0.0, point.number


def _miss(point: SweepPoint) -> float:
    return max(_excess(gate) for gate in point.gates)


def _forget(point: SweepPoint) -> float:
    return point.forget.value if point.forget else 1.0


def _attacked(point: SweepPoint) -> float:
    """The same for all points where there was no attack, and the worst for one that could not be attacked."""
    return point.attacked.value if point.attacked else 1.0


def _utility(point: SweepPoint) -> float:
    return point.utility.value if point.utility else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def best_of(points: Sequence[SweepPoint], method: str) -> SweepPoint | None:
    """A method's own best point, by the rule of every sweep: the one that qualifies, or else the nearest to it."""
    own = [point for point in points if point.group == method]
    choice = choose(own)
    number = choice.chosen if choice.chosen is not None else choice.nearest
    return next((point for point in own if point.number == number), None)
