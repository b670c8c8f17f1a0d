"""A largest increase: how much perplexity may rise, after/before − 1 (0.02 is 2 %), document by document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.evaluation.answers import Perplexity
from govern.gates.kind import Gate

if TYPE_CHECKING:
    from govern.evaluation.bounds import Bounds


def _bounds(before: Perplexity, after: Perplexity, confidence: float, times: float) -> Bounds:
    from govern.evaluation.results import increase_bounds

    return increase_bounds(before, after, confidence=confidence, times=times)


def _facts(before: Perplexity, after: Perplexity, estimate: float) -> str:
    from govern.evaluation.results import perplexity

    read = "perplexity per word" if after.unit == "word" else "perplexity"
    return (
        f"{read} went from {perplexity(before):.2f} to {perplexity(after):.2f} "
        f"over {len(after.ids)} documents, a change of {_signed(estimate)}"
    )


def _signed(share: float) -> str:
    # one document alone bounds nothing
    return f"{100 * share:+.1f} %" if share < 1e6 else "any amount"


KIND = Gate(
    name="max_increase",
    rule="rise at most",
    bounded="the rise",
    passes="upper",
    change=True,
    title="The model is still fluent",
    text="The upper bound of the perplexity's rise is at most what the policy allows.",
    passed="the increase is at most {bound}, within the {threshold} allowed",
    failed="the increase is at least {bound}, more than the {threshold} allowed",
    between="the {threshold} allowed lies between the bounds {lower} and {upper}",
    things="documents",
    found=lambda before, after: after / before - 1,
    afterwards=lambda before, rise: before * (1 + rise),
    bounds=_bounds,
    facts=_facts,
    method=lambda _: "paired ratio estimator over documents, t quantile",
    form=_signed,
)
