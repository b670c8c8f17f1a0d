"""Activations of one decoder block, without computing what the objective does not need.

h is the output of block ℓ. Nothing above ℓ is computed, and nothing below the first trained block s is computed twice:
the trunk (embedding and blocks 0 … s−1) runs once without a graph, and only the window s … ℓ is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from govern.errors import RemovalError
from govern.unlearning.batches import Batch


class _Reached(Exception):
    """The forward has come as far as it is needed."""


@dataclass(frozen=True)
class WindowInput:
    """What the window receives for one batch.

    `hidden` is the input of block s, [batch, tokens, d]. `calls` holds each window block's own other arguments, since
    Gemma, Qwen3 and OLMo 3 choose masks and rotary tables per layer.
    """

    hidden: Tensor
    calls: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]

    @property
    def nbytes(self) -> int:
        """The memory that the tensors hold, each storage counted once."""
        storages = {tensor.data_ptr(): tensor.nbytes for tensor in _tensors((self.hidden, self.calls))}
        return sum(storages.values())


class Window:
    """Blocks s … ℓ of a model (counted from 0, both included)."""

    def __init__(self, model: PreTrainedModel, *, first: int, last: int) -> None:
        self.model = model
        self.blocks = find_blocks(model)[first : last + 1]
        self.width: int = model.config.get_text_config(decoder=True).hidden_size

    @torch.no_grad()
    def enter(self, batch: Batch) -> WindowInput:
        """Run the trunk on a batch and stop before block s computes anything."""
        hidden: list[Tensor] = []
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def record(*args: Any, **kwargs: Any) -> Tensor:
            first, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
            if not calls:
                hidden.append(first)
            calls.append((rest, kwargs))
            if len(calls) == len(self.blocks):
                raise _Reached
            return hidden[0]

        with _replaced(self.blocks, record), _until_reached():
            self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        return WindowInput(hidden[0], tuple(calls))

    def release(self) -> None:
        """Let go of the model; nothing can be computed with it from here on."""
        del self.model, self.blocks

    def replay(
        self,
        entry: WindowInput,
        weights: Mapping[str, Tensor] | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """The window's output h, [batch, tokens, d], or that of its blocks before `end`.

        `hidden` is the input of block `begin`, where it is not the window's. `weights` ("3.mlp.down_proj.weight")
        stand in for the model's own. All count blocks from s.
        """
        hidden = entry.hidden if hidden is None else hidden
        for number in range(begin, len(self.blocks) if end is None else end):
            block, (args, kwargs) = self.blocks[number], entry.calls[number]
            if weights:
                prefix = f"{number}."
                own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
                output = functional_call(block, own, (hidden, *args), kwargs)
            else:
                output = block(hidden, *args, **kwargs)
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden


@torch.no_grad()
def block_output(model: PreTrainedModel, layer: int, batch: Batch) -> Tensor:
    """The output h of block `layer`, [batch, tokens, d], by the model's own forward, left as soon as h is there."""
    found: list[Tensor] = []

    def stop(_module: nn.Module, _args: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    handle = find_blocks(model)[layer].register_forward_hook(stop)
    try:
        with _until_reached():
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    finally:
        handle.remove()
    return found[0]


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's blocks. Raises RemovalError where the model has no single list of them."""
    decoder = model.get_decoder()
    config = decoder.config.get_text_config()
    lists = [
        child
        for child in decoder.children()
        if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers
    ]
    if len(lists) != 1:
        raise RemovalError(
            f"{type(decoder).__name__} has no single list of decoder blocks",
            hint="Representation methods need a decoder-only model whose blocks form one list, such as Llama.",
        )
    return lists[0]


@contextmanager
def _replaced(blocks: nn.ModuleList, forward: Callable[..., Tensor]) -> Iterator[None]:
    own = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.forward = forward
    try:
        yield
    finally:
        for block, before in zip(blocks, own, strict=True):
            del block.forward
            if before is not None:
                block.forward = before


@contextmanager
def _until_reached() -> Iterator[None]:
    try:
        yield
    except _Reached:
        return
    raise RemovalError(
        "the model's forward does not pass through its decoder blocks one after the other",
        hint="This architecture is not supported by representation methods.",
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
