"""A largest increase: how much perplexity may rise, document by document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.evaluation.answers import Perplexity
from govern.gates.kind import Gate

if TYPE_CHECKING:
    from govern.evaluation.bounds import Bounds


class MaxIncrease(Gate[Perplexity]):
    """The relative increase of perplexity, after/before − 1, is at most the threshold (0.02 is 2 %)."""

    name = "max_increase"
    rule = "rise at most"
    bounded = "the rise"
    passes = "upper"
    change = True
    title = "The model is still fluent"
    text = "The upper bound of the perplexity's rise is at most what the policy allows."
    passed = "the increase is at most {bound}, within the {threshold} allowed"
    failed = "the increase is at least {bound}, more than the {threshold} allowed"
    between = "the {threshold} allowed lies between the bounds {lower} and {upper}"
    things = "documents"

    def found(self, before: float, after: float) -> float:
        """The relative increase."""
        return after / before - 1

    def afterwards(self, before: float, value: float) -> float:
        """The perplexity that an increase ends at."""
        return before * (1 + value)

    def bounds(self, before: Perplexity, after: Perplexity, *, confidence: float, times: float) -> Bounds:
        """Bounds on the relative increase."""
        from govern.evaluation.results import increase_bounds

        return increase_bounds(before, after, confidence=confidence, times=times)

    def facts(self, before: Perplexity, after: Perplexity, estimate: float) -> str:
        """Both perplexities, over how many documents, and the change."""
        from govern.evaluation.results import perplexity

        read = "perplexity per word" if after.unit == "word" else "perplexity"
        return (
            f"{read} went from {perplexity(before):.2f} to {perplexity(after):.2f} "
            f"over {len(after.ids)} documents, a change of {self.form(estimate)}"
        )

    def method(self, after: Perplexity) -> str:  # noqa: ARG002
        """A ratio estimator."""
        return "paired ratio estimator over documents, t quantile"

    def form(self, value: float) -> str:
        """Per cent with a sign; one document alone bounds nothing."""
        return f"{100 * value:+.1f} %" if value < 1e6 else "any amount"


KIND = MaxIncrease()
