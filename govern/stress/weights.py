"""The weights of a model that attacks on weights tamper with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def linear_maps(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear maps that quantisers round: all but the head, which often is the embedding as well."""
    from torch import nn

    head = model.get_output_embeddings()
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }
