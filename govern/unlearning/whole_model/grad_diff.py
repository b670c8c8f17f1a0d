"""Gradient difference (Liu et al. 2022, arXiv 2203.12817; in TOFU, Maini et al. 2024, arXiv 2401.06121).

L = −γ CE(θ; forget) + α CE(θ; retain)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.settings import RetainedObjective
from govern.unlearning.whole_model.terms import Term, Turn, retain_loss

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student


class GradDiffSettings(RetainedObjective):
    """Gradient difference: ascent on the forget text, descent on the retain text."""

    method: Literal["grad_diff"] = Field(description="The removal method.")
    forget_weight: float = Field(default=1.0, ge=0, description="γ: how much the ascent weighs.")


def grad_diff_loss(student: Student, turn: Turn, settings: GradDiffSettings) -> Iterator[Term]:
    """−γ CE on the forget batch, + α CE on the retain batch."""
    yield Term("forget", -settings.forget_weight, student.read(turn.forget).loss())
    yield from retain_loss(student, turn, settings)


METHOD = objective("grad_diff", GradDiffSettings, grad_diff_loss)
