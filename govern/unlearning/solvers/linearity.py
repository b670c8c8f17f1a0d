"""Whether a block's output is linear in a weight, which the closed form needs, found by trying it on the model itself.

Gemma 2 and 3 and OLMo 2 and 3 normalise after the MLP, so that it is not; Granite scales, so that it is, by a factor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from govern.errors import RemovalError

# How far the response may be from linear, relative to itself: a few roundings of the dtype, far below what a
# normalisation does (tens of per cent).
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


def linear_scale(
    respond: Callable[[Tensor | None], tuple[Tensor, Tensor]], weight: Tensor, *, random: torch.Generator
) -> float:
    """The s in h(W + δ) − h(W) = s · δ a for a random δ.

    `respond(W)` gives the weight's input a ([tokens, n]) and the block's output h ([tokens, d]) with W in place, or
    with the model's own weight for None. δ a is made as long as h, so that no rounding hides it.
    Raises RemovalError where no s fits.
    """
    a, before = (each.float() for each in respond(None))
    noise = torch.randn(weight.shape, generator=random).to(weight.device)
    noise *= before.norm() / (a @ noise.T).norm()
    moved = (weight.float() + noise).to(weight.dtype)
    expected = a @ (moved.float() - weight.float()).T
    observed = respond(moved)[1].float() - before
    scale = float((observed * expected).sum() / expected.square().sum())
    distance = float((observed - scale * expected).norm() / observed.norm())
    if not distance <= _TOLERANCE[weight.dtype]:
        raise RemovalError(
            f"the block's output is not linear in this weight: {distance:.0%} of its response is something else",
            where="removal.solver",
            hint="Use solver: gradient. Models that normalise after the MLP (Gemma 2 and 3, OLMo 2 and 3) need it, and "
            "so does any module that does not write into the residual stream itself.",
        )
    return scale
