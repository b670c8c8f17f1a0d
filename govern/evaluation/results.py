"""What was measured before and after a removal, with two-sided intervals: question sets and texts, gated or not."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from govern.errors import UsageError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.bounds import Bounds, accuracy_bounds, log_ratio_bounds
from govern.records import Interval, TaskResult


def result(
    before: Answers | Perplexity,
    after: Answers | Perplexity,
    *,
    confidence: float,
    part: Literal["selection", "certification", "all"],
) -> TaskResult:
    """One question set or corpus before and after.

    Raises UsageError where the two models did not answer the same questions, or there are none.
    """
    if isinstance(before, Perplexity) and isinstance(after, Perplexity):
        increase_bounds(before, after, confidence=confidence)
        return TaskResult(
            task=after.task,
            metric="perplexity",
            part=part,
            n=len(after.ids),
            clusters=None,
            chance=None,
            before=perplexity(before),
            before_interval=_perplexity_interval(before, confidence),
            after=perplexity(after),
            after_interval=_perplexity_interval(after, confidence),
        )
    if not isinstance(before, Answers) or not isinstance(after, Answers):
        raise UsageError(f"task {before.task} has answers on one side and a perplexity on the other")
    _check_pairing(before, after)
    return TaskResult(
        task=after.task,
        metric=after.metric,
        part=part,
        n=len(after.ids),
        clusters=None if after.clusters is None else len(set(after.clusters)),
        chance=after.chance,
        before=before.accuracy,
        before_interval=interval(before, confidence=confidence),
        after=after.accuracy,
        after_interval=interval(after, confidence=confidence),
        cut=sum(after.cut or ()),
        merged=sum(after.merged or ()),
    )


def interval(answers: Answers, *, confidence: float) -> Interval:
    """The two-sided interval on an accuracy that is shown beside it: each side at 1 − (1 − confidence)/2."""
    bounds = accuracy_bounds(answers.correct, answers.clusters, confidence=(1 + confidence) / 2)
    return Interval(low=bounds.lower, high=bounds.upper)


def perplexity(reading: Perplexity) -> float:
    """A model's perplexity over all documents together."""
    return math.exp(sum(reading.nll) / sum(reading.tokens))


def increase_bounds(before: Perplexity, after: Perplexity, *, confidence: float, times: float = 1) -> Bounds:
    """Bounds on the relative increase of perplexity, after/before − 1.

    Raises UsageError where the two models did not read the same documents.
    """
    if not after.ids or (before.task, before.ids, before.tokens) != (after.task, after.ids, after.tokens):
        raise UsageError(
            f"the perplexities of {after.task} before and after are not over the same documents",
            hint="Verify again, so that both models read the same documents.",
        )
    nll, tokens = (np.array(before.nll), np.array(after.nll)), np.array(after.tokens)
    bounds = log_ratio_bounds(*nll, tokens, confidence=confidence, times=times)
    return Bounds(_expm1(bounds.estimate), _expm1(bounds.lower), _expm1(bounds.upper))


def _perplexity_interval(reading: Perplexity, confidence: float) -> Interval:
    """The two-sided interval on one model's perplexity, over documents."""
    nll = np.array(reading.nll)
    bounds = log_ratio_bounds(np.zeros_like(nll), nll, np.array(reading.tokens), confidence=(1 + confidence) / 2)
    return Interval(low=_finite(1 + _expm1(bounds.lower)), high=_finite(1 + _expm1(bounds.upper)))


def _check_pairing(before: Answers, after: Answers) -> None:
    if not after.ids:
        raise UsageError(
            f"task {after.task} has no questions to decide on",
            hint="Give it certification questions, or a smaller `selection` share.",
        )
    asked = [(each.task, each.metric, each.ids, each.clusters, each.choices) for each in (before, after)]
    if asked[0] != asked[1]:
        raise UsageError(
            f"the answers of task {after.task} before and after are not to the same questions under {after.metric}",
            hint="Verify again, so that both models answer the same questions.",
        )


def _expm1(value: float) -> float:
    return math.expm1(value) if value < 700 else math.inf


def _finite(value: float) -> float:
    # records hold finite numbers only; one document alone has no bound at all
    return min(value, 1e308)
