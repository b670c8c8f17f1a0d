"""The outputs of a model's blocks, to be read or replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from govern.errors import RemovalError
from govern.stress.attack import Attack, Conditions, Refusal

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@contextmanager
def at_blocks(model: PreTrainedModel, visit: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `visit` with each block's index and output [rows, positions, d]; what it returns takes the output's place.

    Raises RemovalError where the model has no list of blocks.
    """

    from govern.unlearning.activations import find_blocks

    def hook(index: int) -> Callable[..., Any]:
        def visited(_module: Any, _args: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            replaced = visit(index, hidden)
            if replaced is None:
                return None
            return (replaced, *output[1:]) if isinstance(output, tuple) else replaced

        return visited

    hooks = [block.register_forward_hook(hook(index)) for index, block in enumerate(find_blocks(model))]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


class Inside(Attack):
    """An attack that looks into a model's blocks."""

    def refusals(self, conditions: Conditions) -> Iterator[Refusal]:
        """A model without a list of blocks."""
        from govern.unlearning.activations import find_blocks

        try:
            find_blocks(conditions.model())
        except RemovalError as error:
            yield Refusal("attack", f"{error.message}, so there is nothing to look into", "Leave this attack out.")
