"""UNDIAL (Dong et al. 2024, arXiv 2402.10052): self-distillation with adjusted logits.

    L = CE(softmax(z_ref − β · onehot(y)), p_θ), the mean over forget tokens

The teacher is the base model with the true token's logit lowered by β; every other logit stays, so the target is
bounded and fixed. `retain_weight` adds α CE on retain text, as public code allows; the paper has no such term.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.predictions import Predictions
from govern.unlearning.whole_model.settings import RetainedObjective
from govern.unlearning.whole_model.terms import Term, Turn, retain_loss

if TYPE_CHECKING:
    from torch import Tensor

    from govern.unlearning.whole_model.student import Student


class UndialSettings(RetainedObjective):
    """Self-distillation with adjusted logits."""

    reference: ClassVar[bool] = True

    method: Literal["undial"] = Field(description="The removal method.")
    beta: Positive = Field(default=10.0, description="β: how far the true token's logit is lowered in the teacher.")
    learning_rate: float = Field(default=1e-4, gt=0, description="AdamW's.")
    retain_weight: float = Field(default=0.0, ge=0, description="α: the loss on retain text; the paper has none.")


def undial_loss(student: Student, turn: Turn, settings: UndialSettings) -> Iterator[Term]:
    """The distillation on the forget batch, then the retain term."""
    from torch.nn.functional import cross_entropy

    teacher = adjusted_logits(student.read_base(turn.forget), settings.beta).softmax(-1)
    yield Term("forget", 1.0, cross_entropy(student.read(turn.forget).logits, teacher))
    yield from retain_loss(student, turn, settings)


def adjusted_logits(said: Predictions, beta: float) -> Tensor:
    """Z − β · onehot(y), [n, vocabulary]."""
    adjusted = said.logits.clone()
    adjusted.scatter_add_(1, said.labels[:, None], adjusted.new_full((len(adjusted), 1), -beta))
    return adjusted


METHOD = objective("undial", UndialSettings, undial_loss)
