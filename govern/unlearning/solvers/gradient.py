"""The gradient solver: lines 3 to 7 of the paper's Algorithm 1, with AdamW on float32 masters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from govern.errors import RemovalError
from govern.records import CurvePoint
from govern.unlearning.batches import Deck, generator
from govern.unlearning.direction import direction
from govern.unlearning.memory import sum_of_squares
from govern.unlearning.misdirection import Aim, Misdirection, TopicText
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import Descent
from govern.unlearning.solvers.adamw_state import restore_adamw, stored_adamw
from govern.unlearning.solvers.state import State, load_state, save_state
from govern.unlearning.workers import Workers

# T of a topic on its visit number (from 0), [d], float32.
Targets = Callable[[TopicText, int], Tensor]

CHECKPOINT = "gradient.safetensors"
STEPS_BETWEEN_CHECKPOINTS = 20

# A topic's forget loss this many times its first one, or a retain loss this many times the mean square of h⁰ itself,
# is no longer steering: nothing that a sane run does comes near it.
_EXPLODED = 100.0


def descend(
    setup: Misdirection,
    aims: Mapping[str, Aim],
    targets: Targets,
    settings: Descent,
    retain_weight: float,
    request: RemovalRequest[Any],
) -> Edit:
    """Minimise eq. 5 by AdamW, topics in turn.

    Saves its state in the request's checkpoint every few steps and continues from there, to the same bits.
    Raises RemovalError where the loss diverges.
    """
    checkpoint, progress = request.checkpoint, request.progress
    trained, window, frozen = setup.trained, setup.window, setup.frozen
    optimizer = torch.optim.AdamW(
        list(trained.masters.values()),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,  # in place: the others hold one or more copies of a weight while they step
    )
    curve = _resume(checkpoint, setup, optimizer)
    for step in range(len(curve), settings.steps):
        visit, turn = divmod(step, len(setup.topics))
        topic = setup.topics[turn]
        target = targets(topic, visit)

        number = topic.forget.visit(visit)
        hidden = window.replay(frozen.entry(topic.forget, number))
        forget_loss = mean_square(hidden.float() - target, topic.forget, number)
        forget_loss.backward()  # before the retain graph is built: one graph in memory at a time

        number = topic.retain.visit(visit)
        original = frozen.hidden(topic.retain, number, keep=True).float()
        hidden = window.replay(frozen.entry(topic.retain, number))
        retain_loss = mean_square(hidden.float() - original, topic.retain, number)
        (retain_weight * retain_loss).backward()

        sums = torch.stack([forget_loss.detach(), retain_loss.detach(), mean_square(original, topic.retain, number)])
        setup.workers.add(sums)
        forget, retain, scale = sums.tolist()
        if not math.isfinite(forget):
            # The survey has seen some of the batches alone: this one may be more than the base model can compute.
            setup.refuse_base(topic.forget, topic.forget.visit(visit))
        if not math.isfinite(scale):
            setup.refuse_base(topic.retain, number)
        norm = _hand_over_gradients(trained.live, trained.masters, setup.workers)
        point = CurvePoint(
            step=step,
            topic=topic.name,
            forget_loss=_finite(forget, step, settings),
            retain_loss=_finite(retain, step, settings),
            loss=_finite(forget + retain_weight * retain, step, settings),
            gradient_norm=_finite(norm, step, settings),
        )
        _refuse_explosion(point, retain, curve, scale=scale, settings=settings)
        optimizer.step()
        optimizer.zero_grad()  # at 7B the gradients are 0.7 GB that the next step's graph needs more
        trained.write()

        curve.append(point)
        progress(
            "unlearn",
            step + 1,
            settings.steps,
            loss=point.loss,
            forget=point.forget_loss,
            norm=norm,
        )
        due = (step + 1) % STEPS_BETWEEN_CHECKPOINTS == 0 and step + 1 < settings.steps
        if due and checkpoint is not None and setup.workers.rank == 0:
            _save(checkpoint, setup, optimizer, curve)
    figures: dict[str, float] = {}
    for topic in setup.topics:
        figures |= setup.figures(topic, aims[topic.name], visits_of(setup, topic, settings.steps))
    return Edit(trained.tensors(), tuple(curve), figures)


def descend_to_random(setup: Misdirection, coefficient: Callable[[float], float], request: RemovalRequest[Any]) -> Edit:
    """The same with T = c · u, u a random unit vector of each topic's own, and c from the mean ‖h‖ of its first batch.

    That is the target of RMU.
    """
    aims = {}
    for topic in setup.topics:
        norm = setup.survey(topic, [0]).forget_norm
        c = coefficient(norm)
        random = generator(f"{topic.seed}/direction")
        u = direction("uniform01", setup.window.width, scale="unit", generator=random)
        aims[topic.name] = Aim((c * u).float().to(topic.forget.device), c, norm)
    return descend(
        setup,
        aims,
        lambda topic, _visit: aims[topic.name].target,
        request.settings,
        request.settings.retain_weight,
        request,
    )


def visits_of(setup: Misdirection, topic: TopicText, steps: int) -> int:
    """How many of the steps are the topic's."""
    return len(range(setup.topics.index(topic), steps, len(setup.topics)))


def mean_square(difference: Tensor, deck: Deck, number: int) -> Tensor:
    """(1 / N d) Σ over counted tokens Σ over features of `difference`², [batch, tokens, d], as float32.

    N counts the whole batch, so that the results of the workers that share it add up to its mean.
    """
    return difference[deck.batch(number).counted].square().sum() / (deck.counted([number]) * difference.shape[-1])


def _hand_over_gradients(live: Mapping[str, Tensor], masters: Mapping[str, Tensor], workers: Workers) -> float:
    """Move the sum of all workers' gradients to the masters, in float32, and say how long they are together."""
    squares = 0.0
    for name, parameter in live.items():
        if parameter.grad is None:
            raise RemovalError(
                f"{name!r} has no influence on the steered block's output",
                where="removal.train",
                hint="Train modules that feed the residual stream, such as mlp.down_proj.",
            )
        gradient = parameter.grad.float().contiguous()
        workers.add(gradient)
        masters[name].grad = gradient
        squares += sum_of_squares(gradient)
        parameter.grad = None
    return math.sqrt(squares)


def _finite(value: float, step: int, settings: Descent) -> float:
    if not math.isfinite(value):
        raise _diverged(f"the loss is no longer a number at step {step + 1}", settings)
    return value


def _refuse_explosion(
    point: CurvePoint, retain: float, curve: list[CurvePoint], *, scale: float, settings: Descent
) -> None:
    first = next((earlier.forget_loss for earlier in curve if earlier.topic == point.topic), point.forget_loss)
    if point.forget_loss > _EXPLODED * first or retain > _EXPLODED * scale:
        raise _diverged(
            f"the loss exploded at step {point.step + 1}: forget {point.forget_loss:.3g} (at first {first:.3g}), "
            f"retain {retain:.3g}",
            settings,
        )


def _diverged(message: str, settings: Descent) -> RemovalError:
    return RemovalError(
        message,
        where="removal.learning_rate",
        hint=f"Lower learning_rate (it is {settings.learning_rate:g}), or the coefficient.",
    )


def _save(folder: Path, setup: Misdirection, optimizer: torch.optim.Optimizer, curve: list[CurvePoint]) -> None:
    tensors = stored_adamw(optimizer, setup.trained.masters)
    values = {"curve": [point.to_json() for point in curve]}
    save_state(folder / CHECKPOINT, State(len(curve), tensors, values), fingerprint=setup.fingerprint)


def _resume(folder: Path | None, setup: Misdirection, optimizer: torch.optim.Optimizer) -> list[CurvePoint]:
    state = load_state(folder / CHECKPOINT, fingerprint=setup.fingerprint) if folder is not None else None
    if state is None:
        return []
    restore_adamw(optimizer, setup.trained.masters, state.tensors)
    setup.trained.write()
    return [CurvePoint.model_validate(point) for point in state.values["curve"]]
