"""SimNPO (Fan et al. 2024, arXiv 2410.07163): NPO without a reference model, normalised by length.

    L = −γ (2/β) E log σ((β/|y|) NLL_θ(y) − δ) + α CE(θ; retain)

So the paper; public code puts δ inside the parenthesis with β. At δ = 0, which both recommend, they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.settings import RetainedObjective
from govern.unlearning.whole_model.terms import Term, Turn, retain_loss

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student


class SimNpoSettings(RetainedObjective):
    """Negative preference optimisation without a reference, normalised by length."""

    method: Literal["simnpo"] = Field(description="The removal method.")
    beta: Positive = Field(default=4.5, description="β.")
    delta: float = Field(default=0.0, ge=0, description="δ: the reward margin.")
    forget_weight: float = Field(default=0.125, ge=0, description="γ: how much the forget loss weighs.")


def simnpo_loss(student: Student, turn: Turn, settings: SimNpoSettings) -> Iterator[Term]:
    """The forget term over whole documents, then the retain term."""
    from torch.nn.functional import logsigmoid

    said = student.read(turn.forget)
    margin = settings.beta * said.document_losses() / said.lengths() - settings.delta
    yield Term("forget", settings.forget_weight, -2 / settings.beta * logsigmoid(margin).mean())
    yield from retain_loss(student, turn, settings)


METHOD = objective("simnpo", SimNpoSettings, simnpo_loss)
