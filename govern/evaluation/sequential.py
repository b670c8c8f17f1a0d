"""When to stop asking: looks that are fixed beforehand, and how much error each may spend.

A gate may fail at each of several looks. At the looks before the last, all together may fail falsely with half of the
error that the policy allows (Bonferroni, shared out equally); the last look has the other half. So a removal that keeps
to a threshold exactly fails with at most 1 − confidence, however often one looks. No gate passes before the last look,
and there with the policy's whole error, as without looking: looks that can only fail a removal make no pass likelier.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

from govern.evaluation.answers import Answers

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""The share of a task's certifying questions, or of what they are about, that each look before the last has seen."""

LOOKS = len(SHARES) + 1


def failing(look: int, *, confidence: float) -> float:
    """The confidence of the bound that fails a gate at a look, counted from 1."""
    half = (1 - confidence) / 2
    return 1 - (half if look == LOOKS else half / len(SHARES))


def asked_at(answers: Answers, *, seed: str) -> tuple[frozenset[str], ...]:
    """The ids of the questions that each look asks for the first time, the last one all that are left.

    Certifying questions come in random order, by the SHA-256 of the seed, the task and the question's id; those about
    one thing come together, so that each look's bounds are the clustered ones. What does not certify comes last.
    """
    units = answers.clusters or answers.ids
    certifying = [index for index, part in enumerate(answers.parts) if part == "certification"]
    order = sorted({units[index] for index in certifying}, key=lambda unit: _place(seed, answers.task, unit))
    # Of equal ids, all belong to the look of one of them.
    left = {answers.ids[index] for index in certifying}
    looks = []
    for begin, end in zip((0.0, *SHARES), SHARES, strict=False):
        here = set(order[math.ceil(begin * len(order)) : math.ceil(end * len(order))])
        ids = frozenset(answers.ids[index] for index in certifying if units[index] in here) & left
        left -= ids
        looks.append(ids)
    seen: frozenset[str] = frozenset().union(*looks)
    return (*looks, frozenset(answers.ids) - seen)


def joined(like: Answers, said: Sequence[Answers], looks: Sequence[Collection[str]]) -> Answers:
    """The answers given at several looks, in the order of `like`, a model's answers to all questions."""
    places = [index for ids in looks for index, name in enumerate(like.ids) if name in ids]
    columns = {name: [value for answers in said for value in getattr(answers, name)] for name in ("correct", "chosen")}
    order = sorted(range(len(places)), key=places.__getitem__)
    told = like.take(places[index] for index in order)
    return told.model_copy(update={name: tuple(values[index] for index in order) for name, values in columns.items()})


def _place(seed: str, task: str, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{task}\n{unit}".encode()).digest()
