"""One removal on several processes: `torchrun --nproc-per-node N -m govern apply …`.

Rank 0 alone has a log, a run folder and a terminal. The others receive its request, take their share of every batch and
of every sum, and end with the same edit, which they drop. On CPUs tensors meet over gloo, on GPUs over NCCL.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from govern.errors import GovernError, RemovalError, UsageError
from govern.unlearning.workers import ALONE, Workers

if TYPE_CHECKING:
    from torch import Tensor

# A worker waits as long as another one computes: who is gone is noticed by the closed connection, not by a clock.
_PATIENCE = timedelta(days=7)

# How long a worker that failed stays, so that rank 0 can say why before torchrun ends everything; in seconds.
_FAREWELL = 60

_FAILED = "govern/failed"
_AGAIN = "Continue with the same number of processes: torchrun --nproc-per-node N -m govern apply --resume"


@dataclass(frozen=True)
class _Group:
    rank: int
    size: int
    store: Any = field(repr=False)

    def add(self, *tensors: Tensor) -> None:
        from torch import distributed

        for tensor in tensors:
            try:
                distributed.all_reduce(tensor)
            except RuntimeError:
                self.say_who_failed()

    def broadcast(self, data: bytes | None) -> bytes:
        import torch
        from torch import distributed

        length = torch.tensor(len(data or b""))
        try:
            distributed.broadcast(length, src=0)
            content = torch.zeros(int(length), dtype=torch.uint8)
            if data:
                content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            distributed.broadcast(content, src=0)
        except RuntimeError:
            self.say_who_failed()
        return content.numpy().tobytes()

    def tell_failure(self, error: BaseException) -> None:
        """Leave word of why this worker ends. Only the first word counts: what follows is its consequence."""
        # The message of an unforeseen error may quote text, so the others get its kind alone.
        reason = error.message if isinstance(error, GovernError) else type(error).__name__
        self.store.compare_set(_FAILED, "", f"worker {self.rank} of {self.size} failed: {reason}")

    def say_who_failed(self) -> NoReturn:
        """Raise RemovalError with the word that a failed worker left."""
        # Whoever failed left word before its connections closed; who was killed could not.
        told = self.store.check([_FAILED])
        message = self.store.get(_FAILED).decode() if told else "another worker is gone, or torchrun was stopped"
        raise RemovalError(message, where="torchrun", hint=_AGAIN) from None


@contextmanager
def joined() -> Iterator[Workers]:
    """The workers that torchrun started, this process among them; `ALONE` where it did not.

    An error on one of them ends all. Rank 0 raises it, in words; the others end in silence. Raises UsageError where
    the others cannot be met.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    from torch import distributed

    group = _join()
    try:
        with _ended_in_words(group):
            yield group
    except Exception as error:
        group.tell_failure(error)
        if group.rank == 0:
            raise
        if not isinstance(error, GovernError):
            traceback.print_exc()  # a defect of ours
        distributed.destroy_process_group()  # closes the connections, so that nobody waits for this worker
        time.sleep(_FAREWELL)
        raise SystemExit(1) from None
    distributed.destroy_process_group()


def _join() -> _Group:
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        store, rank, size = next(rendezvous("env://"))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"the processes that torchrun started do not find each other: {str(error).splitlines()[0]}",
            where="torchrun",
            hint="On one machine, torchrun --standalone --nproc-per-node N needs no network but the loopback.",
        ) from None
    return _Group(rank, size, store)


@contextmanager
def _ended_in_words(group: _Group) -> Iterator[None]:
    """On rank 0, turn torchrun's request to end, which follows the death of any worker, into an error."""
    if group.rank or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signal: int, _frame: object) -> NoReturn:
        group.say_who_failed()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
