"""The parameters that a removal may change, chosen by name, and their names in the checkpoint.

By name, since an index into a block's parameters means another one on another architecture: on Qwen2 the index that
is `down_proj` on Mistral is the attention output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from govern.errors import RemovalError
from govern.models.headers import Entry
from govern.models.names import names_of
from govern.unlearning.activations import find_blocks
from govern.unlearning.settings import Trained

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredWeight:
    """How the checkpoint calls a parameter, and the dtype that it keeps it in."""

    name: str
    dtype: torch.dtype

    def rounded(self, weight: Tensor) -> Tensor:
        """A float32 weight as the checkpoint keeps it, on the CPU. Raises RemovalError where it does not fit."""
        kept = weight.detach().to("cpu", self.dtype).contiguous()
        if not kept.isfinite().all():
            what = "overflows" if weight.isfinite().all() else "is not finite before it is stored as"
            raise RemovalError(
                f"the edited {self.name!r} {what} {str(self.dtype).removeprefix('torch.')}",
                where="removal",
                hint="Steer or train less, or start from a checkpoint in bfloat16 or float32.",
            )
        return kept


@dataclass(frozen=True)
class TrainedParameters:
    """The parameters of the trained modules. Every mapping has the same keys, "5.mlp.down_proj.weight": block and name.

    `live` are the model's own, in its dtype; `base` are copies of them as they were (no second model is held);
    `masters` are the float32 weights that a solver moves, since at a learning rate of 5e-5 a bfloat16 weight above
    0.0156 cannot move. `stored` says how the checkpoint calls and keeps them.
    """

    live: Mapping[str, nn.Parameter]
    base: Mapping[str, Tensor]
    masters: Mapping[str, Tensor]
    stored: Mapping[str, StoredWeight]

    @classmethod
    def select(cls, model: PreTrainedModel, trained: Trained, model_path: Path) -> TrainedParameters:
        """Let the named modules' parameters have gradients and nothing else.

        Raises RemovalError where a module does not exist, has no parameters, or is not stored in the checkpoint under
        its own name.
        """
        model.requires_grad_(False)
        blocks = find_blocks(model)
        live: dict[str, nn.Parameter] = {}
        full_names = {id(parameter): name for name, parameter in model.named_parameters()}
        entries = names_of(model, model_path).stored
        stored: dict[str, StoredWeight] = {}
        for layer in trained.layers:
            for module in trained.modules:
                found = parameters_of(blocks, layer, module)
                live |= found
                for name, parameter in found.items():
                    stored[name] = stored_as(full_names[id(parameter)], parameter, entries)
        for parameter in live.values():
            parameter.requires_grad_(True)
        return cls(
            live=live,
            base={name: parameter.detach().clone() for name, parameter in live.items()},
            masters={name: parameter.detach().float().clone() for name, parameter in live.items()},
            stored=stored,
        )

    @torch.no_grad()
    def write(self) -> None:
        """Round the masters to the model's dtype and put them into the model."""
        for name, parameter in self.live.items():
            parameter.copy_(self.masters[name])

    @torch.no_grad()
    def reset(self) -> None:
        """Put the base weights back, into the masters and into the model."""
        for name, master in self.masters.items():
            master.copy_(self.base[name])
        self.write()

    def within(self, first: int) -> dict[str, Tensor]:
        """The base weights by the names that a window beginning at block `first` gives them."""
        return {_renumbered(name, first): weight for name, weight in self.base.items()}

    def tensors(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The edited tensors (all, or only `names`), whole, by checkpoint name and in the checkpoint's dtype."""
        return {
            self.stored[name].name: self.stored[name].rounded(self.masters[name])
            for name in (self.masters if names is None else names)
        }

    def digest(self) -> str:
        """SHA-256 over the base weights: which model is being edited."""
        return weights_digest(self.base)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and the bytes of weights."""
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _renumbered(name: str, first: int) -> str:
    layer, _, rest = name.partition(".")
    return f"{int(layer) - first}.{rest}"


def parameters_of(blocks: nn.ModuleList, layer: int, module: str) -> dict[str, nn.Parameter]:
    """A module's parameters, by block and name. Raises RemovalError where the block has no such module."""
    try:
        chosen = blocks[layer].get_submodule(module)
    except (AttributeError, IndexError):
        chosen = None
    found = dict(chosen.named_parameters()) if chosen is not None else {}
    if not found:
        raise RemovalError(
            f"block {layer} has no module {module!r} with parameters",
            where="removal.train",
            hint="Name modules as the model does, from the block down, for example mlp.down_proj.",
        )
    return {f"{layer}.{module}.{name}": parameter for name, parameter in found.items()}


def stored_as(name: str, parameter: nn.Parameter, entries: Mapping[str, Entry]) -> StoredWeight:
    """How the checkpoint keeps a parameter of that name. Raises RemovalError where it does not, or not as it is."""
    entry = entries.get(name)
    if entry is None or entry.shape != tuple(parameter.shape):
        raise RemovalError(
            f"the checkpoint does not store {name!r} as the model holds it",
            where="removal.train.modules",
            hint="Choose modules whose weights the checkpoint stores one by one; experts and fused weights are not.",
        )
    if entry.dtype not in _DTYPES:
        raise RemovalError(
            f"the checkpoint stores {name!r} as {entry.dtype}",
            where="model.source",
            hint="A removal needs floating-point weights: start from the model before it was quantised.",
        )
    return StoredWeight(entry.name, _DTYPES[entry.dtype])
