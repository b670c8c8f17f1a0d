"""RMU (Li et al., 2024) and Adaptive RMU (Dang et al., 2025): the paper's eq. 1 and the public code's recipe."""

from __future__ import annotations

from govern.unlearning.batches import generator
from govern.unlearning.direction import direction
from govern.unlearning.memory import memory_advice
from govern.unlearning.misdirection import Aim, Misdirection, TopicText, undecided
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.rmu_settings import AdaptiveRmuSettings, RmuSettings
from govern.unlearning.settings import Sweep
from govern.unlearning.solvers.gradient import descend


@memory_advice()
def rmu(request: Request[RmuSettings]) -> Edit:
    """Steer h on forget text towards T = c · u, u a random unit vector of the topic's own. Raises as `srmu` does."""
    return steer(Misdirection.open(request), request)


def steer(setup: Misdirection, request: Request[RmuSettings]) -> Edit:
    """RMU on an opened model."""
    c = request.settings.coefficient
    if isinstance(c, Sweep):
        raise undecided("coefficient")
    aims = {topic.name: _aim(topic, c, setup.survey(topic, [0]).forget_norm, setup) for topic in setup.topics}
    return _descend(request, setup, aims)


@memory_advice()
def adaptive_rmu(request: Request[AdaptiveRmuSettings]) -> Edit:
    """RMU with c = s · mean ‖h_f‖ of the topic's first batch, constant from then on. Raises as `srmu` does."""
    return steer_adaptively(Misdirection.open(request), request)


def steer_adaptively(setup: Misdirection, request: Request[AdaptiveRmuSettings]) -> Edit:
    """Adaptive RMU on an opened model."""
    scale = request.settings.scale
    if isinstance(scale, Sweep):
        raise undecided("scale")
    aims = {}
    for topic in setup.topics:
        norm = setup.survey(topic, [0]).forget_norm
        aims[topic.name] = _aim(topic, scale * norm, norm, setup)
    return _descend(request, setup, aims)


def _aim(topic: TopicText, c: float, norm: float, setup: Misdirection) -> Aim:
    random = generator(f"{topic.seed}/direction")
    u = direction("uniform01", setup.window.width, scale="unit", generator=random)
    return Aim((c * u).float().to(topic.forget.device), c, norm)


def _descend(
    request: Request[RmuSettings] | Request[AdaptiveRmuSettings], setup: Misdirection, aims: dict[str, Aim]
) -> Edit:
    return descend(
        setup,
        aims,
        lambda topic, _visit: aims[topic.name].target,
        request.settings,
        checkpoint=request.checkpoint,
        progress=request.progress,
    )
