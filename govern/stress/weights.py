"""The matrices of a model that attacks on weights tamper with, and which share of them an attack reaches.

Not every matrix is an `nn.Linear`: GPT-2 stores its maps the other way round, and mixtures of experts store those of
all experts in one parameter of three axes. The weights that count are the matrices of the decoder's blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from govern.errors import RemovalError
from govern.stress.attack import Attack, AttackRefusal, Conditions

LEAST_COVERAGE = 0.95
"""The share of the weights that count that an attack has to reach where its limit is to decide."""

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Matrix:
    """One matrix, or one for each expert, as a parameter of `module`.

    `flipped`: its last axis is what it writes, as in GPT-2, and not what it reads. `counts`: it is in a block.
    """

    parameter: Tensor
    module: nn.Module
    flipped: bool
    counts: bool

    @property
    def is_map(self) -> bool:
        """Whether it is a linear map of its own."""
        return is_map(self.module)

    @property
    def reachable(self) -> bool:
        """Whether it is a linear map, or those of all experts; not a convolution, a router or a state's decay."""
        from torch import nn

        return self.is_map or (self.parameter.dim() == 3 and not isinstance(self.module, nn.Conv1d))

    @property
    def _upright(self) -> Tensor:
        values = self.parameter.detach()
        return values.transpose(-1, -2) if self.flipped else values

    @property
    def rows(self) -> Tensor:
        """A copy with one row for each output, of every expert [rows, inputs]."""
        found = self._upright
        return found.reshape(-1, found.shape[-1]).clone()

    @property
    def outputs(self) -> Tensor:
        """One row for each output, with the inputs of all experts side by side [outputs, inputs]."""
        found = self._upright
        return found if found.dim() == 2 else found.transpose(0, 1).flatten(1)

    def write(self, rows: Tensor) -> None:
        """Put rows in the place of those that were read."""
        import torch

        shape = self.parameter.shape
        with torch.no_grad():
            if self.flipped:
                self.parameter.copy_(rows.reshape(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2))
            else:
                self.parameter.copy_(rows.reshape(shape))


def is_map(module: nn.Module) -> bool:
    """Whether a module is a linear map, whichever way round its weight is stored."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def matrices(model: PreTrainedModel) -> dict[str, Matrix]:
    """The matrices in the decoder's blocks and all other linear maps, but for the head, by parameter name.

    A parameter is a matrix where at least two of its axes are longer than one and it is no bias. Raises RemovalError
    where the model has no list of blocks.
    """
    from transformers.pytorch_utils import Conv1D

    from govern.unlearning.activations import find_blocks

    within = {id(parameter) for parameter in find_blocks(model).parameters()}
    head = model.get_output_embeddings()
    found = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            counts = id(parameter) in within
            if sum(length > 1 for length in parameter.shape) < 2 or name.endswith("bias") or module is head:
                continue
            if counts or is_map(module):
                flipped = isinstance(module, Conv1D) or bool(getattr(module, "is_transposed", False))
                found[f"{path}.{name}"] = Matrix(parameter, module, flipped and parameter.dim() in (2, 3), counts)
    return found


def coverage(all_of_them: Mapping[str, Matrix], reached: Collection[str]) -> float:
    """The share of the weights that count which were reached, by number, to four digits."""
    sizes = {name: each.parameter.numel() for name, each in all_of_them.items() if each.counts}
    return round(sum(size for name, size in sizes.items() if name in reached) / max(sum(sizes.values()), 1), 4)


def shortfall(share: float) -> str:
    """Why an attack with too small a coverage would have shown nothing, empty where it is large enough."""
    if share >= LEAST_COVERAGE:
        return ""
    return f"its coverage is {share:.1%} of the weights that count, and at least {LEAST_COVERAGE:.0%} are needed"


class Tampering(Attack):
    """An attack that changes weights."""

    def reaches(self, matrix: Matrix) -> bool:
        """Whether it changes a matrix."""
        return matrix.reachable

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:
        """A model without a list of blocks, and a limit where too little is reached for it to decide."""
        try:
            found = matrices(conditions.model())
        except RemovalError as error:
            yield AttackRefusal("attack", f"{error.message}, so what counts is not known", "Leave this attack out.")
            return
        why = shortfall(coverage(found, [name for name, each in found.items() if self.reaches(each)]))
        if why and self.max_recovery is not None:
            yield AttackRefusal("max_recovery", f"the attack would decide nothing: {why}", "Leave out `max_recovery`.")


def without_weights(path: Path, *, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a folder with shapes and no weights (torch's device `meta`). Raises SourceError as `load_config`."""
    import torch
    from transformers import AutoModelForCausalLM

    from govern.models import load_config

    config = load_config(path, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    return model
