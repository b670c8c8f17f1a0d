"""Running out of memory, said as something that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from govern.errors import RemovalError


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn an allocation that failed, on the CPU or a GPU, into a RemovalError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # The CPU allocator has no exception of its own, and neither have the libraries on a GPU.
        told = any(words in str(error) for words in ("allocate memory", "ALLOC_FAILED", "out of memory"))
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or told:
            raise RemovalError(
                "out of memory",
                where="removal",
                hint="Lower batch_size or the sources' max_tokens, train fewer layers, or compute in dtype: bfloat16.",
            ) from None
        raise
