"""The directional misdirection vector V (the paper's section 3.3) and its ablations (Table 4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Direction = Literal["rademacher", "ones", "minus_ones", "uniform01", "zero"]
Scale = Literal["unit", "raw"]


def direction(kind: Direction, size: int, *, scale: Scale, generator: torch.Generator) -> Tensor:
    """V̂, [d], float64: V itself (`raw`), or V/‖V‖ (`unit`), which gives c the scale that it has in RMU."""
    if kind == "rademacher":
        vector = torch.randint(0, 2, (size,), generator=generator, dtype=torch.float64) * 2 - 1
    elif kind == "uniform01":
        vector = torch.rand(size, generator=generator, dtype=torch.float64)
    else:
        vector = torch.full((size,), {"ones": 1.0, "minus_ones": -1.0, "zero": 0.0}[kind], dtype=torch.float64)
    return vector if scale == "raw" or kind == "zero" else vector / vector.norm()
