"""RMU (Li et al., 2024): the paper's eq. 1 and the public code's recipe."""

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


class RmuSettings(Descending):
    """Representation Misdirection for Unlearning (Li et al., 2024)."""

    method: Literal["rmu"] = Field(description="The removal method.")
    coefficient: Positive | CoefficientSweep = Field(
        description="c: how far h is steered. 7.5 in the paper, 6.5 in public code."
    )


def rmu(setup: Misdirection, request: RemovalRequest[RmuSettings]) -> Edit:
    """Steer h on forget text towards T = c · u, u a random unit vector of the topic's own. Raises as `srmu` does."""
    from govern.unlearning.solvers.gradient import descend_to_random

    c = request.settings.coefficient
    if isinstance(c, CoefficientSweep):
        raise undecided("coefficient")
    return descend_to_random(setup, lambda _norm: c, request)


METHOD = Method(
    "rmu",
    "representation",
    (RmuSettings,),
    steer=rmu,
    check=check_steering,
    cost=steering_cost,
    tuned=Tuned("coefficient", None, 2.0),
)
