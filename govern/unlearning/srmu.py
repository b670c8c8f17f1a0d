"""Selective Representation Misdirection for Unlearning: the paper's Algorithm 1, and what a policy may say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.models.headers import Entry
from govern.unlearning.costs import steering_cost
from govern.unlearning.method import Method, Tuned
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import CoefficientSweep, Descent, Positive, Relative, Settings, Steering, undecided
from govern.unlearning.settings_check import MethodRefusal, check_steering

if TYPE_CHECKING:
    from torch import Tensor

    from govern.unlearning.misdirection import Aim, Misdirection, Survey, TopicText

ImportanceMap = Literal["ratio", "difference", "product", "uniform"]
Direction = Literal["rademacher", "ones", "minus_ones", "uniform01", "zero"]

# The map is averaged over mini-batches (the paper's section 3.2), at most this many of each kind: 64 × 4 × 512 tokens
# fix a mean far better than the map needs, and a whole corpus would cost more than the removal.
_SURVEYED_BATCHES = 64


class SrmuTarget(Settings):
    """The target T = c · V̂ ⊙ I_norm (the paper's eqs. 2 to 4) and the ablations of Table 4."""

    method: Literal["srmu"] = Field(description="The removal method.")
    importance: ImportanceMap = Field(
        default="ratio", description="The map I of how much each feature speaks of the forget text."
    )
    difference_weight: float = Field(default=1.0, ge=0, description="λ of the difference map (unpublished).")
    statistic: Literal["mean_abs", "rms"] = Field(
        default="mean_abs", description="What is averaged over tokens: |h|, or h² under a root."
    )
    direction: Direction = Field(default="rademacher", description="V: random signs, or an ablation.")
    direction_scale: Literal["unit", "raw"] = Field(
        default="unit", description="unit divides V by its norm, so that c has the scale of RMU's; raw does not."
    )
    coefficient: Positive | Relative | CoefficientSweep = Field(description="c: how far h is steered.")


class SrmuSettings(SrmuTarget, Steering, Descent):
    """Selective Representation Misdirection for Unlearning (Algorithm 1) by AdamW."""

    solver: Literal["gradient"] = Field(default="gradient", description="How the objective is minimised.")
    refresh_every: int = Field(
        default=0,
        ge=0,
        description="0 computes the map once (Algorithm 1), N again every N batches of a topic (eq. 4).",
    )


class SrmuClosedFormSettings(SrmuTarget, Steering):
    """SRMU's objective minimised exactly, one linear solve a block: no learning rate and no steps."""

    solver: Literal["closed_form"] = Field(description="How the objective is minimised.")
    ridge: float = Field(
        default=1e-4, ge=0, description="ρ: how much a change costs in itself, against the mean square of its input."
    )


def srmu(setup: Misdirection, request: RemovalRequest[SrmuSettings | SrmuClosedFormSettings]) -> Edit:
    """Steer h on forget text towards T = c · V̂ ⊙ I_norm and keep it where it was on retain text (eqs. 2 to 5).

    Raises RemovalError where the loss diverges, or the closed form does not apply; IntegrityError where
    `request.checkpoint` is another removal's.
    """
    from govern.unlearning.solvers import closed_form, gradient

    settings = request.settings
    if isinstance(settings, SrmuClosedFormSettings):
        return closed_form.solve(setup, partial(aim_at, settings), settings, request)

    aims: dict[str, Aim] = {}
    for topic in setup.topics:
        # A topic whose turn never comes is measured too: its figures say that it was aimed at and not reached.
        visits = range(min(max(gradient.visits_of(setup, topic, settings.steps), 1), _SURVEYED_BATCHES))
        survey = setup.survey(topic, visits, settings.statistic, progress=request.progress)
        aims[topic.name] = aim_at(settings, topic, survey)  # lines 1, 2 and 4

    @lru_cache(maxsize=len(setup.topics))
    def refreshed(turn: int, visit: int) -> Tensor:
        """T with the map of one visit's batches (eq. 4's letter) and the coefficient of the first survey."""
        topic = setup.topics[turn]
        survey = setup.survey(topic, [visit], settings.statistic)
        return aim_at(settings, topic, replace(survey, forget_norm=aims[topic.name].mean_norm)).target

    def target(topic: TopicText, visit: int) -> Tensor:
        if settings.refresh_every:
            return refreshed(setup.topics.index(topic), visit - visit % settings.refresh_every)
        return aims[topic.name].target

    return gradient.descend(setup, aims, target, settings, settings.retain_weight, request)


def aim_at(settings: SrmuTarget, topic: TopicText, survey: Survey) -> Aim:
    """T = c · V̂ ⊙ I_norm (eq. 4)."""
    from govern.unlearning.batches import generator
    from govern.unlearning.direction import direction
    from govern.unlearning.importance import importance_map, normalise
    from govern.unlearning.misdirection import Aim

    importance = normalise(  # Algorithm 1, line 1; eqs. 2 and 3
        importance_map(settings.importance, survey.forget, survey.retain, difference_weight=settings.difference_weight)
    )
    v = direction(  # line 2
        settings.direction,
        len(importance),
        scale=settings.direction_scale,
        generator=generator(f"{topic.seed}/direction"),
    )
    coefficient = settings.coefficient
    if isinstance(coefficient, CoefficientSweep):
        raise undecided("coefficient")
    c = coefficient.relative * survey.forget_norm if isinstance(coefficient, Relative) else coefficient
    return Aim((c * v.to(importance) * importance).float(), c, survey.forget_norm)  # line 4


def _check(settings: Steering, layers: int, tensors: Mapping[str, Entry]) -> tuple[MethodRefusal, ...]:
    refusals = check_steering(settings, layers, tensors)
    if not isinstance(settings, SrmuClosedFormSettings):
        return refusals
    if len(settings.train.modules) > 1:
        refusals += (MethodRefusal(("train", "modules", 1), "the closed form solves for one module a block"),)
    if settings.layer not in settings.train.layers:
        message = f"the closed form steers each trained block, so layer {settings.layer} is one"
        refusals += (MethodRefusal(("train", "layers"), message),)
    return refusals


METHOD = Method(
    "srmu",
    "representation",
    (SrmuSettings, SrmuClosedFormSettings),
    steer=srmu,
    check=_check,
    cost=steering_cost,
    tuned=Tuned("coefficient", None, 2.0),
)
