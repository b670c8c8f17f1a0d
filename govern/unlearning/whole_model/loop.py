"""The loop that all objectives share: a loss in terms, AdamW, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from govern.errors import RemovalError
from govern.progress import Progress
from govern.records import CurvePoint
from govern.unlearning.batches import Deck
from govern.unlearning.memory import sum_of_squares
from govern.unlearning.misdirection import TopicText, fingerprint_of, topic_texts
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.solvers.adamw_state import restore_adamw, stored_adamw
from govern.unlearning.solvers.state import State, load_state, save_state
from govern.unlearning.whole_model.settings import Objective, WholeModel
from govern.unlearning.whole_model.student import Student
from govern.unlearning.whole_model.terms import Loss, Stretch, Turn

STEPS_BETWEEN_CHECKPOINTS = 20

WholeT = TypeVar("WholeT", bound=WholeModel)


@dataclass(frozen=True)
class Session:
    """A model opened for a whole-model method, and each topic's text in batches."""

    student: Student
    topics: tuple[TopicText, ...]
    fingerprint: str
    checkpoint: Path | None
    progress: Progress

    @classmethod
    def open(cls, request: RemovalRequest[WholeT]) -> Session:
        """Load the model and deal the text. Raises RemovalError where the model refuses, or several processes ask."""
        settings: Any = request.settings
        if request.workers.size > 1:
            raise RemovalError(
                f"{settings.method} is computed by one process, and torchrun started {request.workers.size}",
                where="torchrun",
                hint="Start it alone: govern apply POLICY. srmu, rmu and adaptive_rmu can be shared.",
            )
        student = Student.open(
            request.model_path, settings, device=request.device, trust_remote_code=request.trust_remote_code
        )

        def deal(corpus: Any, seed: str) -> Deck:
            return Deck.deal(corpus, batch_size=settings.batch_size, mask="default", seed=seed, device=request.device)

        fingerprint = fingerprint_of(request, student.digest)
        return cls(student, topic_texts(request, deal), fingerprint, request.checkpoint, request.progress)

    def edit(
        self,
        curve: tuple[CurvePoint, ...] = (),
        figures: Mapping[str, float] | None = None,
        *,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Edit:
        """The edit: what the student's weights have become, or `weights`, float32 by checkpoint name."""
        weights = self.student.weights() if weights is None else weights
        return Edit(self.student.tensors(weights), curve, dict(figures or {}))

    def figures(self, steps: int) -> dict[str, float]:
        """How much text of each topic went through the model in so many steps."""
        found: dict[str, float] = {}
        for place, topic in enumerate(self.topics):
            visits = range(len(range(place, steps, len(self.topics))))
            for role, deck in (("forget", topic.forget), ("retain", topic.retain)):
                found[f"{topic.name}.{role}_tokens"] = deck.counted(map(deck.visit, visits))
        return found


def minimise(loss: Loss, request: RemovalRequest[Any]) -> Edit:
    """Minimise an objective from beginning to end.

    Raises RemovalError where the model lacks what the settings name, the loss diverges or nothing changed;
    IntegrityError where `request.checkpoint` is another removal's.
    """
    settings: Objective = request.settings
    session = Session.open(request)
    how = Stretch(settings.steps, settings.learning_rate, settings.weight_decay)
    curve = descend(session, loss, settings, how)
    return session.edit(curve, session.figures(settings.steps))


def descend(session: Session, loss: Loss, settings: Objective, how: Stretch) -> tuple[CurvePoint, ...]:
    """AdamW on the student's trained weights (and `how.more`), topics in turn, each in the order of its seed.

    Saves its state every few steps and continues from there, to the same bits. Raises as `minimise` does.
    """
    weights = {**session.student.trained, **how.more}
    optimizer = torch.optim.AdamW(
        list(weights.values()), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    curve = _resume(session, weights, optimizer, how)
    for step in range(len(curve), how.steps):
        visit, place = divmod(step, len(session.topics))
        turn = Turn(session.topics[place], visit)
        values: dict[str, float] = {}
        total, norm, waiting = 0.0, 0.0, False
        for term in loss(session.student, turn, settings):
            if term.weight:
                (term.weight * term.value).backward()
            value = float(term.value.detach())
            if step == 0 and not math.isfinite(value):
                # Nothing was changed yet, so it is no setting that is at fault.
                for batch in (turn.forget, turn.retain):
                    session.student.refuse_not_finite(batch)
            values[term.about] = values.get(term.about, 0.0) + value
            total += term.weight * value
            waiting = not term.update
            if term.update:
                norm = _update(optimizer, weights, norm, total, step, how)
        if waiting:
            norm = _update(optimizer, weights, norm, total, step, how)
        curve.append(
            CurvePoint(
                step=step,
                topic=turn.topic.name,
                forget_loss=values["forget"],
                retain_loss=values.get("retain"),
                loss=total,
                gradient_norm=norm,
            )
        )
        session.progress(how.stage, step + 1, how.steps, loss=total, forget=values["forget"], norm=norm)
        last = step + 1 == how.steps
        if (how.keep if last else (step + 1) % STEPS_BETWEEN_CHECKPOINTS == 0) and session.checkpoint is not None:
            _save(session, session.checkpoint, weights, optimizer, curve, how)
    return tuple(curve)


def _update(
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, Tensor],
    before: float,
    loss: float,
    step: int,
    how: Stretch,
) -> float:
    """Let the optimiser take a step; the length of the gradient, together with that of the step's earlier ones."""
    squares = before**2
    for weight in weights.values():
        if weight.grad is not None:
            squares += sum_of_squares(weight.grad)
    norm = math.sqrt(squares)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RemovalError(
            f"the loss is no longer a number at step {step + 1}",
            where="removal.learning_rate",
            hint=f"Lower learning_rate (it is {how.learning_rate:g}), or the number of steps.",
        )
    optimizer.step()
    optimizer.zero_grad()
    return norm


def _save(
    session: Session,
    folder: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    curve: list[CurvePoint],
    how: Stretch,
) -> None:
    tensors = stored_adamw(optimizer, weights)
    if how.memory is not None:
        tensors |= {f"{_MEMORY}{name}": tensor for name, tensor in how.memory.tensors().items()}
    values = {"curve": [point.to_json() for point in curve]}
    save_state(_path(folder, how), State(len(curve), tensors, values), fingerprint=session.fingerprint)


def _resume(
    session: Session, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, how: Stretch
) -> list[CurvePoint]:
    if session.checkpoint is None:
        return []
    state = load_state(_path(session.checkpoint, how), fingerprint=session.fingerprint)
    if state is None:
        return []
    restore_adamw(optimizer, weights, state.tensors)
    if how.memory is not None:
        kept = {name.removeprefix(_MEMORY): each for name, each in state.tensors.items() if name.startswith(_MEMORY)}
        how.memory.restore(kept)
    return [CurvePoint.model_validate(point) for point in state.values["curve"]]


_MEMORY = "memory/"


def _path(folder: Path, how: Stretch) -> Path:
    return folder / f"{how.stage}.safetensors"
