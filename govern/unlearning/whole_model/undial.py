"""UNDIAL (Dong et al. 2024, arXiv 2402.10052): self-distillation with adjusted logits.

    L = CE(softmax(z_ref − β · onehot(y)), p_θ), the mean over forget tokens

The teacher is the model as it was with the true token's logit lowered by β; every other logit stays, so the target is
bounded and fixed. `retain_weight` adds α CE on retain text, as public code allows; the paper has no such term.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.grad_diff import retain_loss
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.predictions import Predictions
from govern.unlearning.whole_model.settings import UndialSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def undial(request: Request[UndialSettings]) -> Edit:
    """Distil from the adjusted teacher. Raises as `minimise` does."""
    return minimise(undial_loss, request)


def undial_loss(student: Student, turn: Turn, settings: UndialSettings) -> Iterator[Term]:
    """The distillation on the forget batch, then the retain term."""
    teacher = adjusted_logits(student.read_original(turn.forget), settings.beta).softmax(-1)
    yield Term("forget", 1.0, cross_entropy(student.read(turn.forget).logits, teacher))
    yield from retain_loss(student, turn, settings)


def adjusted_logits(said: Predictions, beta: float) -> Tensor:
    """Z − β · onehot(y), [n, vocabulary]."""
    adjusted = said.logits.clone()
    adjusted.scatter_add_(1, said.labels[:, None], adjusted.new_full((len(adjusted), 1), -beta))
    return adjusted
