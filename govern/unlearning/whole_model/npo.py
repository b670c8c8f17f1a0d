"""Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868): preference learning with bad examples alone.

    L = −γ (2/β) E log σ(β (NLL_θ(y) − NLL_ref(y))) + α CE(θ; retain)

NLL is summed over a document's tokens, ref is the base model. For β → 0 the gradient is that of ascent; for larger
β a document that is already forgotten weighs less and less, so the loss has a lower bound, 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.settings import RetainedObjective
from govern.unlearning.whole_model.terms import Term, Turn, retain_loss

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student


class NpoSettings(RetainedObjective):
    """Negative preference optimisation."""

    reference: ClassVar[bool] = True

    method: Literal["npo"] = Field(description="The removal method.")
    beta: Positive = Field(default=0.1, description="β: the smaller, the more like gradient ascent.")
    forget_weight: float = Field(default=1.0, ge=0, description="γ: how much the forget loss weighs.")


def npo_loss(student: Student, turn: Turn, settings: NpoSettings) -> Iterator[Term]:
    """The forget term over whole documents, then the retain term."""
    from torch.nn.functional import logsigmoid

    before = student.read_base(turn.forget).document_losses()
    rise = student.read(turn.forget).document_losses() - before
    yield Term("forget", settings.forget_weight, -2 / settings.beta * logsigmoid(settings.beta * rise).mean())
    yield from retain_loss(student, turn, settings)


METHOD = objective("npo", NpoSettings, npo_loss)
