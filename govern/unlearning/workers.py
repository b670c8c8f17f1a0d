"""Who computes a removal: one process, or several that share every batch and every sum. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Workers(Protocol):
    """The processes that compute one removal together."""

    @property
    def rank(self) -> int:
        """Which of them this one is, from 0."""

    @property
    def size(self) -> int:
        """How many they are."""

    def add(self, *tensors: Tensor) -> None:
        """Put into each tensor, in place, its sum over all workers. Raises RemovalError where one of them is gone."""

    def broadcast(self, data: bytes | None) -> bytes:
        """What rank 0 gave as `data`. Raises RemovalError where it is gone."""


@dataclass(frozen=True)
class Alone:
    """One process: nothing to add, nobody to wait for."""

    rank: int = 0
    size: int = 1

    def add(self, *tensors: Tensor) -> None:
        """Leave sums over one process as they are."""

    def broadcast(self, data: bytes | None) -> bytes:
        """Give rank 0 what it gave."""
        assert data is not None  # noqa: S101 - says to the type checker that rank 0 is here
        return data


ALONE = Alone()
