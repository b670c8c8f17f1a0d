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
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.method import BesideUnits, Work
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import trained
from govern.unlearning.whole_model.predictions import Predictions, divergence
from govern.unlearning.whole_model.settings import Passes, RetainedObjective
from govern.unlearning.whole_model.terms import Stretch, Term, Turn, forget_descent, retain_loss

if TYPE_CHECKING:
    from torch import Tensor

    from govern.unlearning.whole_model.student import Student


class RkluSettings(RetainedObjective):
    """Distillation by reverse KL from a teacher that lacks what training on the forget text strengthens."""

    reference: ClassVar[bool] = True

    method: Literal["rklu"] = Field(description="The removal method.")
    strength: Positive = Field(default=5.0, description="α of the teacher: how far strengthened logits are lowered.")
    strengthening_steps: int = Field(
        default=50, ge=1, description="Batches of forget text that the strengthened model is trained on first."
    )
    retain_weight: float = Field(default=0.0, ge=0, description="The loss on retain text; 0 leaves it out.")

    @property
    def passes(self) -> Passes:
        """The forget text through three models, and retain text where it weighs anything."""
        retained = 1 if self.retain_weight else 0
        return Passes(3 + retained, 1 + retained)


def rklu(request: RemovalRequest[RkluSettings]) -> Edit:
    """Train the strengthened model, then distil from the teacher that follows. Raises as `minimise` does."""
    from govern.unlearning.whole_model.loop import Session, descend

    settings = request.settings
    session = Session.open(request)
    student = session.student
    how = Stretch(
        settings.strengthening_steps, settings.learning_rate, settings.weight_decay, stage="strengthen", keep=True
    )
    descend(session, forget_descent, settings, how)
    strong = {name: weight.detach().clone() for name, weight in student.trained.items()}
    student.reset()

    def loss(student: Student, turn: Turn, settings: RkluSettings) -> Iterator[Term]:
        return rklu_loss(student, turn, settings, strong)

    how = Stretch(settings.steps, settings.learning_rate, settings.weight_decay)
    curve = descend(session, loss, settings, how)
    return session.edit(curve, session.figures(settings.steps))


def rklu_loss(student: Student, turn: Turn, settings: RkluSettings, strong: Mapping[str, Tensor]) -> Iterator[Term]:
    """The distillation on the forget batch, then the retain term."""
    before = student.read_base(turn.forget)
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


METHOD = trained(
    "rklu",
    RkluSettings,
    rklu,
    work=Work(
        "steps",
        {"strengthening_steps": 1},
        BesideUnits(
            {"strengthening_steps": 3},
            lambda settings: settings.strengthening_steps / settings.steps,
            grows="strengthening_steps",
        ),
    ),
)
