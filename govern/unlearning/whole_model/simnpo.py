"""SimNPO (Fan et al. 2024, arXiv 2410.07163): NPO without a reference model, normalised by length.

    L = −γ (2/β) E log σ((β/|y|) NLL_θ(y) − δ) + α CE(θ; retain)

So the paper; public code puts δ inside the parenthesis with β. At δ = 0, which both recommend, they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.functional import logsigmoid

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.grad_diff import retain_loss
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.settings import SimNpoSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def simnpo(request: Request[SimNpoSettings]) -> Edit:
    """Minimise the loss above. Raises as `minimise` does."""
    return minimise(simnpo_loss, request)


def simnpo_loss(student: Student, turn: Turn, settings: SimNpoSettings) -> Iterator[Term]:
    """The forget term over whole documents, then the retain term."""
    said = student.read(turn.forget)
    margin = settings.beta * said.document_losses() / said.lengths() - settings.delta
    yield Term("forget", settings.forget_weight, -2 / settings.beta * logsigmoid(margin).mean())
    yield from retain_loss(student, turn, settings)
