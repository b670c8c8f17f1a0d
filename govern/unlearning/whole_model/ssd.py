"""Selective synaptic dampening (Foster et al. 2024, arXiv 2308.07707): shrink what matters to forget text.

    I(θ) = E (∂CE/∂θ)²        where I_forget > α I:  θ ← min(λ I / I_forget, 1) θ

The expectation is over batches, as in public code (over documents with batch_size 1). The paper's I is over all the
training data; here it is over the retain text, which stands for it. A weight that the retain text never touches, such
as the vector of a word that it lacks, is therefore set to zero: choose retain text that is wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.costs import whole_model_cost
from govern.unlearning.method import Method, Tuned, Work
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import Positive
from govern.unlearning.whole_model.method import check_whole_model
from govern.unlearning.whole_model.settings import Measured

if TYPE_CHECKING:
    from torch import Tensor

    from govern.unlearning.batches import Deck
    from govern.unlearning.whole_model.loop import Session


class SsdSettings(Measured):
    """Selective synaptic dampening."""

    method: Literal["ssd"] = Field(description="The removal method.")
    threshold: Positive = Field(default=10.0, description="α: how many times its importance for the rest selects.")
    dampening: Positive = Field(default=1.0, description="λ: the smaller, the more a selected weight shrinks.")


_ROLES = ("forget", "retain")


def ssd(request: RemovalRequest[SsdSettings]) -> Edit:
    """Measure every chosen weight on both texts and dampen those selected.

    Raises RemovalError where the model lacks what the settings name or nothing is selected, IntegrityError where
    `request.checkpoint` is another removal's.
    """
    from govern.unlearning.whole_model.loop import Session

    settings = request.settings
    session = Session.open(request)
    forget, retain = importances(session, settings.batches)
    weights, selected, total = {}, 0, 0
    for name, weight in session.student.weights().items():
        factor = dampening(forget[name], retain[name], settings.threshold, settings.dampening)
        weights[name] = weight * factor
        selected += int((factor < 1).sum())
        total += weight.numel()
    return session.edit(figures={"weights_dampened": selected, "weights_measured": total}, weights=weights)


def dampening(forget: Tensor, retain: Tensor, threshold: float, strength: float) -> Tensor:
    """What each weight is multiplied by, at most 1, from its importance for both texts."""
    import torch

    factor = (strength * retain / forget.clamp_min(torch.finfo(forget.dtype).tiny)).clamp_max(1.0)
    return torch.where(forget > threshold * retain, factor, torch.ones_like(factor))


def importances(session: Session, batches: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """I of every trained weight on forget and on retain text, by checkpoint name: up to `batches` of each topic."""
    import torch

    from govern.unlearning.whole_model.measuring import accumulate

    student = session.student
    work = [
        (role, deck, visit)
        for topic in session.topics
        for role, deck in (("forget", topic.forget), ("retain", topic.retain))
        for visit in range(min(batches, len(deck)))
    ]
    sums = {f"{role}/{name}": torch.zeros_like(weight) for role in _ROLES for name, weight in student.trained.items()}

    def add(item: tuple[str, Deck, int]) -> None:
        role, deck, visit = item
        student.read(deck.batch(deck.visit(visit))).loss().backward()
        for name, weight in student.trained.items():
            if weight.grad is not None:
                sums[f"{role}/{name}"] += weight.grad.square()
                weight.grad = None

    accumulate(session, sums, work, add, stage="importance")
    counts = {role: sum(each == role for each, _, _ in work) for role in _ROLES}
    forget, retain = (
        {student.edited[name].name: sums[f"{role}/{name}"] / counts[role] for name in student.trained}
        for role in _ROLES
    )
    return forget, retain


METHOD = Method(
    "ssd",
    "weight",
    (SsdSettings,),
    run=ssd,
    check=check_whole_model,
    cost=whole_model_cost,
    tuned=Tuned("threshold", 10.0, 0.5),
    work=Work("batches"),
)
