"""SCRUB (Kurmanji et al. 2023, arXiv 2302.09880): away from the teacher on forget text, back to it on retain text.

    max over θ of KL_T(p_ref ‖ p_θ; forget), then min over θ of γ CE(θ; retain) + α KL_T(p_ref ‖ p_θ; retain), in turn

KL_T has both logits divided by T and is multiplied by T². The paper alternates whole epochs; here each step makes both
moves, an update of its own each, so that a removal that is shorter than an epoch alternates too. As there, the first
move is made in the first `max_epochs` (msteps) epochs of forget text only, and what follows repairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.predictions import divergence
from govern.unlearning.whole_model.settings import Objective, Passes
from govern.unlearning.whole_model.terms import Term, Turn

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student


class ScrubSettings(Objective):
    """Away from the original on forget text, then back to it on retain text, in turn."""

    reference: ClassVar[bool] = True

    method: Literal["scrub"] = Field(description="The removal method.")
    retain_weight: float = Field(default=0.99, ge=0, description="γ: how much the loss on retain text weighs.")
    match_weight: float = Field(default=0.001, ge=0, description="α: how much the KL on retain text weighs.")
    temperature: Positive = Field(default=4.0, description="T: both models' logits are divided by it.")
    max_epochs: int = Field(
        default=2, ge=1, description="msteps: in these first epochs of forget text the model is also driven away."
    )

    @property
    def passes(self) -> Passes:
        """Both texts through both models, with an update after each."""
        return Passes(4, 2)


def scrub_loss(student: Student, turn: Turn, settings: ScrubSettings) -> Iterator[Term]:
    """The move away on the forget batch, with its update; then the move back on the retain batch."""
    before = student.read_base(turn.forget).logits
    away = divergence(before, student.read(turn.forget).logits, temperature=settings.temperature)
    driven = turn.visit < settings.max_epochs * len(turn.topic.forget)
    yield Term("forget", -1.0 if driven else 0.0, away, update=driven)
    before = student.read_base(turn.retain).logits
    said = student.read(turn.retain)
    match = settings.match_weight * divergence(before, said.logits, temperature=settings.temperature)
    yield Term("retain", 1.0, settings.retain_weight * said.loss() + match)


METHOD = objective("scrub", ScrubSettings, scrub_loss)
