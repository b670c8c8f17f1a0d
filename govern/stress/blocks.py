"""The outputs of a model's blocks, to be read or replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from govern.errors import RemovalError
from govern.stress.attack import Attack, AttackRefusal, Conditions

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
    """An attack that looks into a model's blocks. `takes_streams`: also where they hand on several vectors a token."""

    takes_streams: ClassVar[bool] = False

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:
        """A model without a list of blocks."""
        from govern.unlearning.activations import find_blocks

        model = conditions.model()
        try:
            find_blocks(model)
        except RemovalError as error:
            yield AttackRefusal(
                "attack", f"{error.message}, so there is nothing to look into", "Leave this attack out."
            )
            return
        # Gemma 3n
        if getattr(model.config.get_text_config(decoder=True), "altup_num_inputs", 1) > 1 and not self.takes_streams:
            message = "the model's blocks hand on several vectors for each token, and this attack reads one"
            yield AttackRefusal("attack", message, "Leave this attack out.")
