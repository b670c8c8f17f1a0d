"""Selective Representation Misdirection for Unlearning: the paper's Algorithm 1."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from govern.errors import RemovalError
from govern.unlearning.batches import generator
from govern.unlearning.direction import direction
from govern.unlearning.importance import Average, importance_map, normalise
from govern.unlearning.misdirection import Misdirection, TopicText
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.solvers.gradient import descend
from govern.unlearning.srmu_settings import Relative, SrmuSettings, Sweep


def srmu(request: Request[SrmuSettings]) -> Edit:
    """Steer h on forget text towards T = c · V̂ ⊙ I_norm and keep it where it was on retain text (eqs. 2 to 5).

    Raises RemovalError where the coefficient is still a sweep, the model lacks what the settings name, or the loss
    diverges; IntegrityError where `request.checkpoint` belongs to another removal.
    """
    settings = request.settings
    if isinstance(settings.coefficient, Sweep):
        raise RemovalError(
            "the policy leaves the coefficient to a sweep",
            where="removal.coefficient",
            hint="A sweep has to choose first; then write the number that it chose in the sweep's place.",
        )
    setup = Misdirection.open(request)
    figures: dict[str, float] = {}
    targets: dict[str, Tensor] = {}
    steer: dict[str, Tensor] = {}
    for topic in setup.topics:
        survey = setup.survey(topic, settings.statistic, request)
        importance = _importance(settings, survey.forget, survey.retain)  # line 1; eqs. 2 and 3
        random = generator(f"{settings.seed}/{topic.name}/direction")
        v = direction(settings.direction, len(importance), scale=settings.direction_scale, generator=random)  # line 2
        c = _absolute(settings.coefficient, survey.forget_norm)
        steer[topic.name] = c * v.to(importance)
        targets[topic.name] = steer[topic.name] * importance  # line 4; eq. 4
        figures |= {
            f"{topic.name}.coefficient": c,
            f"{topic.name}.target_norm": float(targets[topic.name].norm()),
            f"{topic.name}.mean_norm": survey.forget_norm,
        }

    @lru_cache(maxsize=len(setup.topics))
    def refreshed(topic: TopicText, visit: int) -> Tensor:
        """T with I_norm from the frozen model on the batches of one visit (eq. 4's letter)."""
        v_f, v_r = Average(settings.statistic), Average(settings.statistic)
        for average, deck in ((v_f, topic.forget), (v_r, topic.retain)):
            number = deck.visit(visit)
            average.add(setup.frozen.hidden(deck, number), deck.batch(number).counted)
        return (steer[topic.name] * _importance(settings, v_f.features, v_r.features)).float()

    def target(topic: TopicText, visit: int) -> Tensor:
        if settings.refresh_every:
            return refreshed(topic, visit - visit % settings.refresh_every)
        return targets[topic.name].float()

    curve = descend(setup, target, settings, checkpoint=request.checkpoint, progress=request.progress)  # lines 3 to 7
    for topic in setup.topics:
        figures[f"{topic.name}.first_token_drift"] = setup.first_token_drift(topic)
        figures[f"{topic.name}.forget_tokens"] = setup.seen(topic.forget, topic.visits)
        figures[f"{topic.name}.retain_tokens"] = setup.seen(topic.retain, topic.visits)
    return Edit(setup.trained.tensors(), curve, figures)


def _importance(settings: SrmuSettings, forget: Tensor, retain: Tensor) -> Tensor:
    return normalise(importance_map(settings.importance, forget, retain, difference_weight=settings.difference_weight))


def _absolute(coefficient: float | Relative, norm: float) -> float:
    return coefficient.relative * norm if isinstance(coefficient, Relative) else coefficient
