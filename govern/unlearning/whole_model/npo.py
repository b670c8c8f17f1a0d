"""Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868): preference learning with bad examples alone.

    L = −γ (2/β) E log σ(β (NLL_θ(y) − NLL_ref(y))) + α CE(θ; retain)

NLL is summed over a document's tokens, ref is the model as it was. For β → 0 the gradient is that of ascent; for larger
β a document that is already forgotten weighs less and less, so the loss has a lower bound, 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.functional import logsigmoid

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.grad_diff import retain_loss
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.settings import NpoSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def npo(request: Request[NpoSettings]) -> Edit:
    """Minimise the loss above. Raises as `minimise` does."""
    return minimise(npo_loss, request)


def npo_loss(student: Student, turn: Turn, settings: NpoSettings) -> Iterator[Term]:
    """The forget term over whole documents, then the retain term."""
    before = student.read_original(turn.forget).document_losses()
    rise = student.read(turn.forget).document_losses() - before
    yield Term("forget", settings.forget_weight, -2 / settings.beta * logsigmoid(settings.beta * rise).mean())
    yield from retain_loss(student, turn, settings)
