"""The model that is trained: which of its weights may change, and what it said with the weights that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from govern.errors import RemovalError
from govern.models import load_model, read_tensors
from govern.models.names import names_of
from govern.training.adapters import adapt
from govern.training.finite import refuse_not_finite
from govern.unlearning.activations import find_blocks
from govern.unlearning.batches import Batch
from govern.unlearning.parameters import StoredWeight, parameters_of, stored_as, weights_digest
from govern.unlearning.whole_model.predictions import Predictions
from govern.unlearning.whole_model.settings import WholeModel


@dataclass(frozen=True)
class Student:
    """A model in float32, in evaluation mode: no dropout, so that a step depends on nothing but its weights.

    `trained` are the parameters that may change, by the names that `model` gives them; of an adapter, its own.
    `base` are copies of them as the base model has them, where a method asks for them. `edited` says how the checkpoint
    keeps the weights that will have changed, by their names in the plain model.
    """

    model: nn.Module
    plain: PreTrainedModel
    trained: Mapping[str, nn.Parameter]
    base: Mapping[str, Tensor]
    edited: Mapping[str, StoredWeight]
    path: Path
    device: str
    dtype: str
    digest: str

    @classmethod
    def open(cls, path: Path, settings: WholeModel, *, device: str, trust_remote_code: bool) -> Student:
        """Load the model. Raises RemovalError where it lacks what the settings name, or stores it otherwise."""
        plain = load_model(path, dtype=torch.float32, device=device, trust_remote_code=trust_remote_code)
        plain.requires_grad_(False)
        chosen = _chosen(plain, settings)
        model: nn.Module = plain
        if settings.rank is not None:
            maps = _linear_maps(plain, chosen)
            chosen = {f"{name}.weight": plain.get_parameter(f"{name}.weight") for name in maps}
        entries = names_of(plain, path).stored
        edited = {name: stored_as(name, parameter, entries) for name, parameter in chosen.items()}
        digest = weights_digest(chosen)
        if settings.rank is not None:
            model = adapt(plain, settings.rank, seed=settings.seed, maps=maps)
            trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        else:
            trained = chosen
            for parameter in trained.values():
                parameter.requires_grad_(True)
        model.eval()
        base = {name: weight.detach().clone() for name, weight in trained.items()} if settings.reference else {}
        return cls(model, plain, trained, base, edited, path, device, settings.dtype, digest)

    def read(self, batch: Batch, weights: Mapping[str, Tensor] | None = None) -> Predictions:
        """What the model says of a batch, with its own weights or with other ones, by the names of `trained`."""
        return Predictions.at(
            self.logits(weights, input_ids=batch.input_ids, attention_mask=batch.attention_mask), batch
        )

    @torch.no_grad()
    def read_base(self, batch: Batch) -> Predictions:
        """What the base model says of a batch."""
        return self.read(batch, self.base)

    def refuse_not_finite(self, batch: Batch) -> None:
        """Raise RemovalError where the model's weights, or what it computes of a batch, are not finite."""
        refuse_not_finite(self.plain, lambda: self.read(batch))

    def logits(self, weights: Mapping[str, Tensor] | None = None, **inputs: Tensor) -> Tensor:
        """The model's logits, [batch, tokens, vocabulary]; `inputs` are those of its forward."""
        arguments: dict[str, Any] = {**inputs, "use_cache": False}
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            if weights is None:
                output = self.model(**arguments)
            else:
                output = functional_call(self.model, dict(weights), (), arguments)
        logits: Tensor = output.logits
        return logits

    @torch.no_grad()
    def reset(self) -> None:
        """Put the base weights back."""
        for name, weight in self.trained.items():
            weight.copy_(self.base[name])

    def weights(self) -> dict[str, Tensor]:
        """The edited weights in float32, by checkpoint name. An adapter is merged into them, so this comes last."""
        if isinstance(self.model, PeftModel):
            self.model.merge_and_unload()
        return {stored.name: self.plain.get_parameter(name).detach() for name, stored in self.edited.items()}

    def tensors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those weights, by checkpoint name and in its dtype, that differ from the checkpoint's own.

        Raises RemovalError where none does, or one does not fit its dtype.
        """
        kept = {stored.name: stored for stored in self.edited.values()}
        changed: dict[str, Tensor] = {}
        for name, weight in weights.items():
            tensor = kept[name].rounded(weight)
            if not torch.equal(tensor, read_tensors(self.path, [name])[name]):
                changed[name] = tensor
        if not changed:
            raise RemovalError(
                "the method changed no weight",
                where="removal",
                hint="Raise learning_rate or steps; for methods that select weights, select more of them.",
            )
        return changed


def _chosen(model: PreTrainedModel, settings: WholeModel) -> dict[str, nn.Parameter]:
    """The parameters that the settings name, by their full names."""
    layers: int = model.config.get_text_config(decoder=True).num_hidden_layers
    changing = settings.changing(layers)
    if changing is None:
        return dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    blocks = find_blocks(model)
    return {
        names[id(parameter)]: parameter
        for layer in changing.layers
        for module in changing.modules
        for parameter in parameters_of(blocks, layer, module).values()
    }


def _linear_maps(model: PreTrainedModel, chosen: Mapping[str, nn.Parameter]) -> list[str]:
    """The names of the linear maps whose weights are chosen, the head left out, as an adapter wants them."""
    head = model.get_output_embeddings()
    maps = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head and f"{name}.weight" in chosen
    ]
    if not maps:
        raise RemovalError(
            "there is no linear map among the chosen modules for an adapter to sit on",
            where="removal.lora_rank",
            hint="Choose modules such as mlp.down_proj, or leave lora_rank out.",
        )
    return maps
