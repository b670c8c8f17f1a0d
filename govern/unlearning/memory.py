"""Taking little memory, and running out of it, said as something that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from govern.errors import RemovalError

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 1 << 22  # elements that are widened to float64 at once


def sum_of_squares(tensor: Tensor) -> float:
    """Σ x², in float64 and in parts: a float64 copy of a whole gradient is the most that a 7B removal would hold."""
    return sum(float(part.double().square().sum()) for part in tensor.flatten().split(_AT_ONCE))


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn an allocation that failed, on the CPU or a GPU, into a RemovalError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        import torch

        # The CPU allocator has no exception of its own, and neither have the libraries on a GPU.
        told = any(words in str(error) for words in ("allocate memory", "ALLOC_FAILED", "out of memory"))
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or told:
            raise RemovalError(
                "out of memory",
                where="removal",
                hint="Lower batch_size or the sources' max_tokens, train fewer layers, or compute in dtype: bfloat16.",
            ) from None
        raise
