"""AdamW's moments and the weights that they belong to, as tensors by name, there and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_WEIGHT = "master"


def stored_adamw(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each weight as "NAME/master", and what the optimiser knows of it as "NAME/exp_avg" and so on."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        tensors[f"{name}/{_WEIGHT}"] = weight.detach()
        tensors |= {f"{name}/{key}": value for key, value in optimizer.state[weight].items()}
    return tensors


@torch.no_grad()
def restore_adamw(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put them back, to the same bits."""
    for name, weight in weights.items():
        weight.copy_(tensors[f"{name}/{_WEIGHT}"])
        keys = [key for key in tensors if key.rpartition("/")[0] == name and not key.endswith(f"/{_WEIGHT}")]
        # The count of steps too: the fused kernel reads it where the weight is.
        optimizer.state[weight] = {key.rpartition("/")[2]: tensors[key].to(weight.device) for key in keys}
