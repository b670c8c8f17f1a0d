"""Where a model's positions, or what it remembers of a text, do not allow the work on one text to serve another.

Some models place tokens by the length of the whole text (longrope, dynamic NTK): beyond a length, a beginning read
alone is not what it is within a longer text, and neither is a text beside a longer one in a batch. Recurrent and
convolutional ones keep a state that cannot be handed on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

_BY_LENGTH = ("dynamic", "longrope", "su", "yarn_dynamic")

_shares: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def switches_at(model: PreTrainedModel) -> int | None:
    """The length (tokens) beyond which the places of all tokens depend on the text's length; None where they never do.

    The rotary embedding's settings say so, one for the model or one for each kind of layer.
    """
    config: Any = model.config.get_text_config()
    stated = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [each for each in (stated, *stated.values()) if isinstance(each, dict)]
    limits = []
    for each in kinds:
        kind = str(each.get("rope_type", each.get("type", "")))
        if any(name in kind for name in _BY_LENGTH):
            original = each.get("original_max_position_embeddings")
            original = original or getattr(config, "original_max_position_embeddings", None)
            limits.append(int(config.max_position_embeddings if "dynamic" in kind or not original else original))
    return min(limits, default=None)


def forget_length(model: PreTrainedModel) -> None:
    """Have a model place tokens as if it had read nothing: dynamic NTK otherwise keeps the longest text's places."""
    with torch.inference_mode():
        model(torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)


def keeps_few_logits(model: PreTrainedModel) -> bool:
    """Whether the model's forward can leave the head out where it is not asked for."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def may_share(model: PreTrainedModel, differs: Callable[[], bool]) -> bool:
    """Whether what the model remembers of a text can be handed to several continuations of it.

    `differs` tries that on a few tokens and says whether the result is another than without; it may raise whatever the
    model's own code raises, and is asked once a model.
    """
    if getattr(model, "_is_stateful", False):
        return False
    if model not in _shares:
        try:
            _shares[model] = not differs()
        except Exception:
            _shares[model] = False
    return _shares[model]
