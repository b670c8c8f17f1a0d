"""Adaptive RMU (Dang et al., 2025): RMU with a coefficient that follows the model's own activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.costs import steering_cost
from govern.unlearning.method import Method, Tuned
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import CoefficientSweep, Descending, Positive, undecided
from govern.unlearning.settings_check import check_steering

if TYPE_CHECKING:
    from govern.unlearning.misdirection import Misdirection


class AdaptiveRmuSettings(Descending):
    """Adaptive RMU (Dang et al., 2025)."""

    method: Literal["adaptive_rmu"] = Field(description="The removal method.")
    scale: Positive | CoefficientSweep = Field(
        default=5.0, description="s: c is s times the mean norm of h on forget text."
    )


def adaptive_rmu(setup: Misdirection, request: RemovalRequest[AdaptiveRmuSettings]) -> Edit:
    """RMU with c = s · mean ‖h_f‖ of the topic's first batch, constant from then on. Raises as `srmu` does."""
    from govern.unlearning.solvers.gradient import descend_to_random

    scale = request.settings.scale
    if isinstance(scale, CoefficientSweep):
        raise undecided("scale")
    return descend_to_random(setup, lambda norm: scale * norm, request)


METHOD = Method(
    "adaptive_rmu",
    "representation",
    (AdaptiveRmuSettings,),
    steer=adaptive_rmu,
    check=check_steering,
    cost=steering_cost,
    tuned=Tuned("scale", None, 2.0),
)
