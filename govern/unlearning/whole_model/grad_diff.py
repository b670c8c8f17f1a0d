"""Gradient difference (Liu et al. 2022, arXiv 2203.12817; in TOFU, Maini et al. 2024, arXiv 2401.06121).

L = −γ CE(θ; forget) + α CE(θ; retain)
"""

from __future__ import annotations

from collections.abc import Iterator

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.settings import GradDiffSettings, RetainedObjective
from govern.unlearning.whole_model.student import Student


@memory_advice()
def grad_diff(request: Request[GradDiffSettings]) -> Edit:
    """Ascend on the forget text, descend on the retain text. Raises as `minimise` does."""
    return minimise(grad_diff_loss, request)


def grad_diff_loss(student: Student, turn: Turn, settings: GradDiffSettings) -> Iterator[Term]:
    """−γ CE on the forget batch, + α CE on the retain batch."""
    yield Term("forget", -settings.forget_weight, student.read(turn.forget).loss())
    yield from retain_loss(student, turn, settings)


def retain_loss(student: Student, turn: Turn, settings: RetainedObjective) -> Iterator[Term]:
    """+ α CE on the retain batch, where it weighs anything: what several objectives end with."""
    if settings.retain_weight:
        yield Term("retain", settings.retain_weight, student.read(turn.retain).loss())
