"""What a removal's method costs on a model, as far as its shape tells before any weight is loaded."""

from __future__ import annotations

from typing import Literal

from govern.records.base import Record


class Cost(Record):
    """`scope` is what the method works on; `trained_parameters` what it may change (an adapter's own, with one).

    `blocks` of the model's decoder blocks are loaded, `model_copies` times. `forward_passes` and `backward_passes` of a
    batch go through them in each of `steps`; methods without steps (None) say what a batch of their text takes.
    `memory_bytes` counts weights, gradients, the optimiser's moments and copies; activations come on top.
    """

    scope: Literal["representation", "neuron", "logit", "weight"]
    trained_parameters: int
    blocks: int
    model_copies: int
    forward_passes: int
    backward_passes: int
    steps: int | None
    memory_bytes: int
