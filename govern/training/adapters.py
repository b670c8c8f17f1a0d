"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) by peft, the same for attacks and for methods."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Literal

import torch
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import PeftModel

# peft draws from the process's random numbers, which two threads would seed for each other.
_DRAWING = Lock()


def adapt(
    model: PreTrainedModel,
    rank: int,
    *,
    seed: int,
    maps: Sequence[str] | Literal["all-linear"] = "all-linear",
    stacked: Sequence[str] = (),
) -> PeftModel:
    """Put an adapter on the linear maps of those names (all but the head, by default), with α = 2 · rank, no dropout.

    `stacked` names parameters of three axes, the maps of all experts, that get one too. The adapter alone has
    gradients, and changes nothing before it is trained. `merge_and_unload` makes it part of the model's own weights.
    """
    from peft import LoraConfig, get_peft_model

    targets = maps if isinstance(maps, str) else list(maps)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=targets,
        target_parameters=list(stacked) or None,
        lora_dropout=0.0,
    )
    with _DRAWING, torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted: PeftModel = get_peft_model(model, config)
    return adapted
