"""The importance map: how much each feature of h speaks of the forget text (the paper's eqs. 2 and 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from govern.unlearning.workers import Workers

Statistic = Literal["mean_abs", "rms"]
Map = Literal["ratio", "difference", "product", "uniform"]

# ε of the ratio and product maps is unpublished; ε of eq. 3 is the paper's.
_EPSILON = 1e-6
_EPSILON_NORM = 1e-8


class Average:
    """A running average over counted tokens, in float64: of |h| or of h² by feature, and of ‖h‖."""

    def __init__(self, statistic: Statistic) -> None:
        self.statistic = statistic
        self.tokens = 0
        self._sum: Tensor | None = None
        self._norms = 0.0

    def add(self, hidden: Tensor) -> None:
        """Take in h of the tokens that count, [tokens, d]."""
        rows = hidden.double()
        total = (rows.abs() if self.statistic == "mean_abs" else rows.square()).sum(0)
        self._sum = total if self._sum is None else self._sum + total
        self._norms += float(rows.norm(dim=1).sum())
        self.tokens += len(rows)

    def join(self, workers: Workers) -> None:
        """Take in what the other workers averaged. Each of them has been given something, be it no rows."""
        counts = torch.tensor([self.tokens, self._norms], dtype=torch.float64, device=self._total.device)
        workers.add(self._total, counts)
        self.tokens, self._norms = int(counts[0]), float(counts[1])

    @property
    def features(self) -> Tensor:
        """v, [d]: the mean of |h|, or the root of the mean of h²."""
        mean = self._total / self.tokens
        return mean if self.statistic == "mean_abs" else mean.sqrt()

    @property
    def _total(self) -> Tensor:
        if self._sum is None:
            raise ValueError("nothing has been averaged")
        return self._sum

    @property
    def norm(self) -> float:
        """The mean of ‖h‖."""
        return self._norms / self.tokens


def importance_map(kind: Map, forget: Tensor, retain: Tensor, *, difference_weight: float = 1.0) -> Tensor:
    """I = φ(v_f, v_r), [d] (eq. 2). `difference_weight` is λ of the difference map."""
    if kind == "ratio":
        return torch.log1p(forget / (retain + _EPSILON))
    if kind == "difference":
        return torch.relu(forget - difference_weight * retain)
    if kind == "product":
        return forget * retain / (forget.mean() * retain.mean() + _EPSILON)
    return torch.ones_like(forget)


def normalise(importance: Tensor) -> Tensor:
    """I_norm, [d], in [0, 1] (eq. 3)."""
    return importance / (importance.max() + _EPSILON_NORM)
