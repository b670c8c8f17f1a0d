"""Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089): learn the forget text, and go as far the other way.

θ_new = θ − λ (θ_finetuned on forget − θ)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import trained
from govern.unlearning.whole_model.settings import Objective
from govern.unlearning.whole_model.terms import Stretch, forget_descent

if TYPE_CHECKING:
    from torch import Tensor


class TaskArithmeticSettings(Objective):
    """Fine-tuning on the forget text, and a step the other way."""

    method: Literal["task_arithmetic"] = Field(description="The removal method.")
    coefficient: Positive = Field(default=1.0, description="λ: how much of what was learnt is subtracted.")


def task_arithmetic(request: RemovalRequest[TaskArithmeticSettings]) -> Edit:
    """Fine-tune on the forget text and subtract what was learnt. Raises as `minimise` does."""
    from govern.models import read_tensors
    from govern.unlearning.whole_model.loop import Session, descend

    settings = request.settings
    session = Session.open(request)
    how = Stretch(settings.steps, settings.learning_rate, settings.weight_decay, stage="learn")
    curve = descend(session, forget_descent, settings, how)
    learnt = {name: weight.cpu() for name, weight in session.student.weights().items()}
    base = read_tensors(request.model_path, learnt)
    return session.edit(curve, session.figures(settings.steps), weights=negated(base, learnt, settings.coefficient))


def negated(base: Mapping[str, Tensor], learnt: Mapping[str, Tensor], coefficient: float) -> dict[str, Tensor]:
    """θ − λ (θ_learnt − θ), float32."""
    return {
        name: (1 + coefficient) * base[name].float() - coefficient * after.float() for name, after in learnt.items()
    }


METHOD = trained("task_arithmetic", TaskArithmeticSettings, task_arithmetic, "weight")
