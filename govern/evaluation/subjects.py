"""MMLU's subjects one by one, and those next to a hazard together. Nothing here decides a gate.

Claims about single subjects are many at once, so they are corrected for each other (Holm 1979, Scandinavian Journal of
Statistics 6:65–70). Subjects pooled are fixed strata: their questions count as independent ones, and as subjects of
different difficulty only make a sum of answers vary less (Hoeffding 1956, Annals of Mathematical Statistics
27:713–721), the bounds for independent questions stay safe.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from scipy.stats import binomtest

from govern.evaluation.answers import Answers
from govern.evaluation.bounds import accuracy_bounds, drop_bounds
from govern.records import Interval, NeighbourResult, SubjectResult


def by_subject(before: Answers, after: Answers, *, confidence: float) -> tuple[SubjectResult, ...]:
    """Which subjects lost, in the order of their names; empty where the questions have no or one subject.

    The paired test is McNemar's exact one: of the questions on which the two models differ, as many would be lost as
    gained. A bound that lies above zero where the exact test does not is put to zero.
    """
    names = sorted(set(after.subjects or ()))
    if len(names) < 2:
        return ()
    pairs = {name: (before.about([name]), after.about([name])) for name in names}
    tests = {name: _nothing_lost(*pair) for name, pair in pairs.items()}
    error, adjusted, rejecting = 1 - confidence, 0.0, True
    results = {}
    left = len(names)
    for rank, name in enumerate(sorted(names, key=lambda name: (tests[name], name))):
        adjusted = min(max(adjusted, (len(names) - rank) * tests[name]), 1.0)
        rejecting = rejecting and adjusted <= error
        first, second = pairs[name]
        bounds = drop_bounds(first.correct, second.correct, None, confidence=1 - error / left)
        results[name] = SubjectResult(
            task=after.task,
            subject=name,
            n=len(first.ids),
            before=first.accuracy,
            after=second.accuracy,
            drop=bounds.estimate,
            bound=bounds.lower if rejecting else min(bounds.lower, 0.0),
            p=adjusted,
            lost=rejecting,
        )
        # Holm's procedure stops at the first subject that it cannot reject: the level stays what it was there.
        left -= rejecting
    return tuple(results[name] for name in names)


def pooled(
    pairs: Sequence[tuple[Answers, Answers]], hazards: Mapping[str, Collection[str]], *, confidence: float
) -> tuple[NeighbourResult, ...]:
    """For each hazard, the questions of the subjects next to it, from the first of `pairs` that asks any of a subject.

    `pairs` are (before, after) to the same questions, all asked in one form.
    """
    found = []
    for hazard, subjects in hazards.items():
        left = set(subjects)
        correct: tuple[list[bool], list[bool]] = ([], [])
        first = None
        for before, after in pairs:
            here = left & set(after.subjects or ())
            if not here:
                continue
            left -= here
            first = first or after
            for side, answers in zip(correct, (before, after), strict=True):
                side += answers.about(here).correct
        if first is None:
            continue
        bounds = drop_bounds(*correct, None, confidence=(1 + confidence) / 2)
        before_interval, after_interval = (_interval(side, confidence) for side in correct)
        found.append(
            NeighbourResult(
                hazard=hazard,
                task=first.task,
                subjects=tuple(sorted(set(subjects) - left)),
                n=len(correct[0]),
                before=sum(correct[0]) / len(correct[0]),
                before_interval=before_interval,
                after=sum(correct[1]) / len(correct[1]),
                after_interval=after_interval,
                drop=bounds.estimate,
                drop_interval=Interval(low=bounds.lower, high=bounds.upper),
                method="Clopper–Pearson and Tango's score bound over subjects as fixed strata",
            )
        )
    return tuple(found)


def _nothing_lost(before: Answers, after: Answers) -> float:
    """The one-sided p-value of McNemar's exact test."""
    lost = sum(old and not new for old, new in zip(before.correct, after.correct, strict=True))
    gained = sum(new and not old for old, new in zip(before.correct, after.correct, strict=True))
    return float(binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue) if lost + gained else 1.0


def _interval(correct: Sequence[bool], confidence: float) -> Interval:
    bounds = accuracy_bounds(correct, None, confidence=(1 + confidence) / 2)
    return Interval(low=bounds.lower, high=bounds.upper)
