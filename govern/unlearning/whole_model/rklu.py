"""RKLU, first called RKLD (Wang et al. 2024, arXiv 2406.01983; NAACL 2025): reverse-KL distillation from a teacher that
lacks what further training on the forget text strengthens.

    z_teacher = z_ref − α ReLU(z_strong − z_ref)        L = mean over selected forget tokens of KL(p_θ ‖ p_teacher)

Read: the abstracts of both versions and a summary (a teacher made by continued training on the forget set; reverse KL,
which leaves the other tokens' distribution alone; only the components of the distribution that bear on the target are
unlearnt). The formula of the teacher is the one that secondary sources give. Not read: how tokens are selected, α, and
the training of the strengthened model. Ours, therefore: a token is selected where the strengthened model gives the true
token a higher logit than the original did; α, `strengthening_steps` and the one learning rate for both are settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.grad_diff import retain_loss
from govern.unlearning.whole_model.loop import Descending, Session, Term, Turn, descend
from govern.unlearning.whole_model.predictions import Predictions, divergence
from govern.unlearning.whole_model.settings import RkluSettings
from govern.unlearning.whole_model.student import Student
from govern.unlearning.whole_model.task_arithmetic import forget_descent


@memory_advice()
def rklu(request: Request[RkluSettings]) -> Edit:
    """Train the strengthened model, then distil from the teacher that follows. Raises as `minimise` does."""
    settings = request.settings
    session = Session.open(request)
    student = session.student
    how = Descending(
        settings.strengthening_steps, settings.learning_rate, settings.weight_decay, stage="strengthen", keep=True
    )
    descend(session, forget_descent, settings, how)
    strong = {name: weight.detach().clone() for name, weight in student.trained.items()}
    student.reset()

    def loss(student: Student, turn: Turn, settings: RkluSettings) -> Iterator[Term]:
        return rklu_loss(student, turn, settings, strong)

    how = Descending(settings.steps, settings.learning_rate, settings.weight_decay)
    curve = descend(session, loss, settings, how)
    return session.edit(curve, session.figures(settings.steps))


def rklu_loss(student: Student, turn: Turn, settings: RkluSettings, strong: Mapping[str, Tensor]) -> Iterator[Term]:
    """The distillation on the forget batch, then the retain term."""
    before = student.read_original(turn.forget)
    stronger = student.read(turn.forget, strong)
    teacher, selected = weakened(before, stronger, settings.strength)
    said = student.read(turn.forget).logits
    if selected.any():
        yield Term("forget", 1.0, divergence(said[selected], teacher[selected]))
    else:
        yield Term("forget", 0.0, said.new_zeros(()))  # training would strengthen nothing in this batch
    yield from retain_loss(student, turn, settings)


def weakened(before: Predictions, stronger: Predictions, strength: float) -> tuple[Tensor, Tensor]:
    """The teacher's logits, [n, vocabulary], and which tokens are distilled, [n]."""
    gain = (stronger.logits - before.logits).detach()
    selected = gain.gather(1, before.labels[:, None]).squeeze(1) > 0
    return before.logits - strength * gain.relu(), selected
