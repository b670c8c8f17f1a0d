"""Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089): learn the forget text, and go as far the other way.

θ_new = θ − λ (θ_finetuned on forget − θ)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from govern.models import read_tensors
from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.loop import Descending, Session, Term, Turn, descend
from govern.unlearning.whole_model.settings import Objective, TaskArithmeticSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def task_arithmetic(request: Request[TaskArithmeticSettings]) -> Edit:
    """Fine-tune on the forget text and subtract what was learnt. Raises as `minimise` does."""
    settings = request.settings
    session = Session.open(request)
    how = Descending(settings.steps, settings.learning_rate, settings.weight_decay, stage="learn")
    curve = descend(session, forget_descent, settings, how)
    learnt = {name: weight.cpu() for name, weight in session.student.weights().items()}
    base = read_tensors(request.model_path, learnt)
    return session.edit(curve, session.figures(settings.steps), weights=negated(base, learnt, settings.coefficient))


def forget_descent(student: Student, turn: Turn, _settings: Objective) -> Iterator[Term]:
    """CE on the forget batch: plain fine-tuning on it."""
    yield Term("forget", 1.0, student.read(turn.forget).loss())


def negated(base: Mapping[str, Tensor], learnt: Mapping[str, Tensor], coefficient: float) -> dict[str, Tensor]:
    """θ − λ (θ_learnt − θ), float32."""
    return {
        name: (1 + coefficient) * base[name].float() - coefficient * after.float() for name, after in learnt.items()
    }
