"""Measures that benchmarks share: ROUGE-L recall, the harmonic mean, and intervals by resampling questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from govern.records import Figure, Interval

Array = NDArray[np.float64]

_RESAMPLES = 2000


class Rouge(NamedTuple):
    """The longest common subsequence of words, as a share of the reference's, and the F1 of the shares of both."""

    recall: float
    f1: float


def rouge_l(reference: str, said: str, *, stem: bool) -> Rouge:
    """ROUGE-L (Lin 2004) by `rouge-score`, Google's implementation, which TOFU and MUSE use.

    Lower case; ASCII letters and digits alone make words. With `stem`, words of more than three letters are stemmed.
    """
    found = _scorer(stem).score(reference, said)["rougeL"]
    return Rouge(found.recall, found.fmeasure)


def harmonic_mean(values: Sequence[float]) -> float:
    """The count over Σ 1/x, 0 where any x is 0 or below: a model that lost one ability wholly has no utility."""
    if min(values) <= 0:
        return 0.0
    return len(values) / sum(1 / value for value in values)


def resampled(
    statistic: Callable[[Sequence[Array]], float], sets: Sequence[Sequence[float]], *, confidence: float
) -> Interval:
    """A two-sided percentile bootstrap interval (Efron 1979), the questions of each set drawn anew on their own.

    Always the same draws. It speaks of other questions of the same kind about the same people and facts.
    """
    random = np.random.default_rng(0)
    columns = [np.asarray(values, dtype=np.float64) for values in sets]
    drawn = [
        statistic([column[random.integers(len(column), size=len(column))] for column in columns])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


def mean_interval(values: Sequence[float], *, confidence: float) -> Interval:
    """The interval of a mean."""
    return resampled(lambda drawn: float(drawn[0].mean()), [values], confidence=confidence)


def mean_figure(name: str, values: Sequence[float], *, confidence: float) -> Figure:
    """A mean over questions with its interval."""
    interval = mean_interval(values, confidence=confidence)
    return Figure(name=name, value=float(np.mean(values)), interval=interval, n=len(values))


@cache
def _scorer(stem: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=stem)
