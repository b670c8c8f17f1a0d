"""What every kind of limit says of itself, and how a gate judges.

A gate passes when the one-sided confidence bound on the wrong side of its threshold still keeps to it, and fails when
the opposite bound breaks it; anything between is inconclusive: the data do not say. All gates of a run must pass, an
intersection–union test, so no correction across gates is needed.

Nothing heavy is imported here: reports and light commands read what a kind is called. Judging imports what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from govern.evaluation.answers import Answers, Perplexity
from govern.records import GateKind, GateResult, LimitKind, VerdictValue

if TYPE_CHECKING:
    from govern.evaluation.bounds import Bounds

MeasuredT = TypeVar("MeasuredT", Answers, Perplexity)

# Nobody writes a thousand times as many questions: then the data sit on the threshold.
_MOST_TIMES = 1000

# Records hold finite numbers only; one document alone has no bound at all.
_LARGEST = 1e308


@dataclass(frozen=True, kw_only=True)
class LimitWords:
    """A kind of limit, as it is told to people and programs."""

    name: LimitKind
    rule: str  # what stands before the threshold: `at most`
    bounded: str  # what the bound is on: `the accuracy after`
    passes: Literal["lower", "upper"]  # the bound that has to keep to the threshold
    title: str  # what a pass says, as the title of a SARIF rule
    text: str  # when a gate passes, in a sentence

    def bound_name(self, verdict: VerdictValue | None) -> str:
        """What the bound is called that decided a verdict."""
        upper = (self.passes == "upper") == (verdict != "fail")
        return f"{'Upper' if upper else 'Lower'} bound of {self.bounded}"

    def keeps(self, value: float, threshold: float) -> bool:
        """Whether a value is on the allowed side of the threshold, or on it."""
        return value <= threshold if self.passes == "upper" else value >= threshold


@dataclass(frozen=True, kw_only=True)
class Gate(LimitWords, Generic[MeasuredT]):
    """A kind that holds one number, from before and after a removal, against a threshold.

    `passed`, `failed` and `between` are the reasons: clauses about `{bound}`, or `{lower}` and `{upper}`, and
    `{threshold}`.
    """

    name: GateKind
    group: Literal["forget", "utility"] = "utility"  # whether it is about what has to go, or about what must stay
    unit: Literal["percent", "points"] = "percent"  # what threshold and bound are printed in
    change: bool = False  # whether threshold and bound are about the change, not about the value afterwards
    passed: str
    failed: str
    between: str
    things: str = "questions"  # what more of would decide

    found: Callable[[float, float], float]  # before, after: the estimate that the threshold is about
    afterwards: Callable[[float, float], float]  # before, a threshold or a bound: the value afterwards that it means
    bounds: Callable[[MeasuredT, MeasuredT, float, float], Bounds]  # before, after, confidence, times as much data
    facts: Callable[[MeasuredT, MeasuredT, float], str]  # before, after, estimate: the first clause of the reason
    method: Callable[[MeasuredT], str]  # after: the name of the bound
    form: Callable[[float], str]  # a threshold or a bound as the reason prints it
    doubts: Callable[[MeasuredT, MeasuredT, float, float], list[str]] = lambda *_: []
    """Of before, after, threshold and confidence: why a pass would say nothing, as sentences."""

    def excess(self, gate: GateResult) -> float:
        """How far the estimate lies on the wrong side of the threshold; zero or below where it keeps to it."""
        found = self.found(gate.before, gate.after)
        return found - gate.threshold if self.passes == "upper" else gate.threshold - found

    def allowed(self, gate: GateResult) -> tuple[float, float]:
        """The values afterwards that keep to the threshold, from the lowest to the highest."""
        limit = self.afterwards(gate.before, gate.threshold)
        below = self.keeps(self.found(gate.before, limit - 1), gate.threshold)
        return (-math.inf, limit) if below else (limit, math.inf)

    def judge(
        self,
        before: MeasuredT,
        after: MeasuredT,
        *,
        threshold: float,
        confidence: float,
        failing: float | None = None,
    ) -> GateResult:
        """Hold what was measured against `threshold`, on the questions given (the certifying ones).

        The bound that fails a gate is at the confidence `failing` where that is another one, as it is in a sequential
        test. Raises UsageError where the two models did not answer the same questions or read the same documents.
        """
        from govern.evaluation.results import result

        measured = result(before, after, confidence=confidence, part="certification")

        def decide(times: float = 1) -> tuple[VerdictValue, float, float, float]:
            at = self.bounds(before, after, confidence, times)
            opposite = at if failing is None else self.bounds(before, after, failing, times)
            upper = self.passes == "upper"
            lower, higher = (opposite.lower, at.upper) if upper else (at.lower, opposite.upper)
            passing, breaking = (higher, lower) if upper else (lower, higher)
            if not self.keeps(breaking, threshold):
                return "fail", at.estimate, lower, higher
            return ("pass" if self.keeps(passing, threshold) else "inconclusive"), at.estimate, lower, higher

        verdict, estimate, lower, upper = decide()
        shown = upper if (self.passes == "upper") == (verdict != "fail") else lower
        said = {
            "bound": self.form(shown),
            "lower": self.form(lower),
            "upper": self.form(upper),
            "threshold": self.form(threshold),
        }
        reason = self.facts(before, after, estimate) + "; "
        if verdict == "inconclusive":
            remedy = _remedy(len(after.ids), self.things, lambda times: decide(times)[0])
            reason += f"{self.between.format_map(said)}, so {remedy}."
        else:
            clause = self.passed if verdict == "pass" else self.failed
            sure = confidence if verdict == "pass" else failing or confidence
            reason += f"with {percent(sure)} confidence {clause.format_map(said)}."
        if verdict == "pass" and (doubts := self.doubts(before, after, threshold, confidence)):
            verdict = "inconclusive"
            reason = f"{reason} But a pass would say nothing. {' '.join(doubts)}"
        return GateResult(
            task=measured.task,
            metric=measured.metric,
            kind=self.name,
            n=measured.n,
            clusters=measured.clusters,
            before=measured.before,
            before_interval=measured.before_interval,
            after=measured.after,
            after_interval=measured.after_interval,
            bound=min(shown, _LARGEST),
            threshold=threshold,
            method=self.method(after),
            verdict=verdict,
            reason=reason[0].upper() + reason[1:],
        )


def _remedy(n: int, things: str, decide: Callable[[float], VerdictValue]) -> str:
    """How much more data would decide, were it like the `n` at hand; `decide` takes how many times as much there is."""
    enough = 2.0
    while decide(enough) == "inconclusive":
        enough *= 2
        if enough > _MOST_TIMES:
            return f"not even {_MOST_TIMES} times as many {things} like these would decide it"
    few = enough / 2
    while (enough - few) * n > 1:
        middle = (few + enough) / 2
        few, enough = (middle, enough) if decide(middle) == "inconclusive" else (few, middle)
    more = math.ceil((enough - 1) * n)
    return f"it takes about {more} more {things} like these to decide it; it would then {decide(enough)}"


def percent(share: float) -> str:
    """A share in per cent, as reasons print it."""
    return f"{100 * share:.1f} %"
