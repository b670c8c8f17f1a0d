"""How much memory an edit takes, watched while it runs."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import torch

_STATM: Final = Path("/proc/self/statm")
_EVERY: Final = 0.02


class PeakMemory:
    """The most memory that this process took while a block ran, above what it held when the block began, in bytes.

    On a GPU that is what PyTorch allocated there. On a CPU it is resident memory, looked at fifty times a second, so
    that a shorter peak is missed; what was freed before is given back to the system first, where its allocator can,
    since it would be taken again without being seen. `bytes` is None until the block ends, and where the system does
    not say (only Linux does).
    """

    def __init__(self, device: str) -> None:
        self.bytes: int | None = None
        self._device = device if device.startswith("cuda") else None
        self._began = self._peak = 0
        self._ended = threading.Event()
        self._watching: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._device:
            torch.cuda.reset_peak_memory_stats(self._device)
            self._began = torch.cuda.memory_allocated(self._device)
        elif _STATM.exists():
            _give_back()
            self._began = self._peak = _resident()
            self._watching = threading.Thread(target=self._watch, daemon=True)
            self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device:
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._began
        elif self._watching:
            self._ended.set()
            self._watching.join()
            self.bytes = max(self._peak, _resident()) - self._began

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            self._peak = max(self._peak, _resident())


def _give_back() -> None:
    """Let the C library return what it keeps of freed memory; glibc's can, and others have no such function."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident() -> int:
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
