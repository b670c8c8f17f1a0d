"""Sums over batches that outlive a killed run: what the methods without training are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from govern.errors import RemovalError
from govern.unlearning.solvers.state import State, load_state, save_state
from govern.unlearning.whole_model.loop import STEPS_BETWEEN_CHECKPOINTS, Session

Item = TypeVar("Item")


def accumulate(
    session: Session, sums: Mapping[str, Tensor], work: Sequence[Item], add: Callable[[Item], None], *, stage: str
) -> None:
    """Let `add` put every item of the work into the sums, in order.

    Saves the sums every few items and continues from there. Raises IntegrityError where the checkpoint is another's,
    RemovalError where a sum is not finite.
    """
    path = session.checkpoint / f"{stage}.safetensors" if session.checkpoint is not None else None
    state = load_state(path, fingerprint=session.fingerprint) if path is not None else None
    if state is not None:
        for name, tensor in state.tensors.items():
            sums[name].copy_(tensor)
    for done in range(state.done if state is not None else 0, len(work)):
        add(work[done])
        session.progress(stage, done + 1, len(work))
        if path is not None and (done + 1) % STEPS_BETWEEN_CHECKPOINTS == 0:
            save_state(path, State(done + 1, sums, {}), fingerprint=session.fingerprint)
    if not all(each.isfinite().all() for each in sums.values()):
        for topic in session.topics:
            for deck in (topic.forget, topic.retain):
                for number in range(len(deck)):
                    session.student.refuse_not_finite(deck.batch(number))
        raise RemovalError("what was measured is not finite", where="removal.dtype", hint="Compute in dtype: float32.")
