"""Selective Representation Misdirection for Unlearning: the paper's Algorithm 1."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

from torch import Tensor

from govern.unlearning.batches import generator
from govern.unlearning.direction import direction
from govern.unlearning.importance import importance_map, normalise
from govern.unlearning.memory import memory_advice
from govern.unlearning.misdirection import Aim, Misdirection, Survey, TopicText, undecided
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.settings import Relative, Sweep
from govern.unlearning.solvers.closed_form import Measuring, solve
from govern.unlearning.solvers.gradient import descend, visits_of
from govern.unlearning.srmu_settings import SrmuClosedFormSettings, SrmuSettings, SrmuTarget

# The map is averaged over mini-batches (the paper's section 3.2), at most this many of each kind: 64 × 4 × 512 tokens
# fix a mean far better than the map needs, and a whole corpus would cost more than the removal.
_SURVEYED_BATCHES = 64


@memory_advice()
def srmu(request: Request[SrmuSettings | SrmuClosedFormSettings]) -> Edit:
    """Steer h on forget text towards T = c · V̂ ⊙ I_norm and keep it where it was on retain text (eqs. 2 to 5).

    Raises RemovalError where the coefficient is still a sweep, the model lacks what the settings name, the loss
    diverges, or the closed form does not apply; IntegrityError where `request.checkpoint` is another removal's.
    """
    if isinstance(request.settings.coefficient, Sweep):
        raise undecided("coefficient")
    return steer(Misdirection.open(request), request)


def steer(
    setup: Misdirection,
    request: Request[SrmuSettings | SrmuClosedFormSettings],
    *,
    measuring: Measuring | None = None,
) -> Edit:
    """Algorithm 1 on an opened model. `measuring` gives the closed form what other settings measured before."""
    settings = request.settings
    if isinstance(settings, SrmuClosedFormSettings):
        return solve(
            setup,
            partial(aim_at, settings),
            settings,
            checkpoint=request.checkpoint,
            progress=request.progress,
            measuring=measuring,
        )

    aims: dict[str, Aim] = {}
    for topic in setup.topics:
        # A topic whose turn never comes is measured too: its figures say that it was aimed at and not reached.
        visits = range(min(max(visits_of(setup, topic, settings.steps), 1), _SURVEYED_BATCHES))
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

    return descend(setup, aims, target, settings, checkpoint=request.checkpoint, progress=request.progress)


def aim_at(settings: SrmuTarget, topic: TopicText, survey: Survey) -> Aim:
    """T = c · V̂ ⊙ I_norm (eq. 4)."""
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
    if isinstance(coefficient, Sweep):
        raise undecided("coefficient")
    c = coefficient.relative * survey.forget_norm if isinstance(coefficient, Relative) else coefficient
    return Aim((c * v.to(importance) * importance).float(), c, survey.forget_norm)  # line 4
