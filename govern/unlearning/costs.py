"""What a method costs on a model, told from the checkpoint's headers before any weight is loaded. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from govern.models.headers import Entry
from govern.records import Cost
from govern.unlearning.protocol import Scope
from govern.unlearning.settings import Descent, Steering, Trained
from govern.unlearning.settings_check import names_within
from govern.unlearning.whole_model.settings import Objective, WholeModel

_FLOAT32 = 4
_BYTES = {"bfloat16": 2, "float32": _FLOAT32}


def steering_cost(settings: Steering, scope: Scope, layers: int, tensors: Mapping[str, Entry]) -> Cost:
    """Blocks 0 … ℓ in the model's dtype; float32 masters of what is trained, which it is put back to on retain text."""
    above = {name for layer in range(settings.layer + 1, layers) for name in _within(tensors, layer)}
    held = sum(math.prod(entry.shape) for name, entry in tensors.items() if name not in above)
    trained = _size(tensors, settings.train, settings.layer + 1)
    closed = not isinstance(settings, Descent)
    own = _BYTES[settings.dtype]
    return Cost(
        scope=scope,
        trained_parameters=trained,
        blocks=settings.layer + 1,
        model_copies=1,
        forward_passes=2 if closed else 3,
        backward_passes=0 if closed else 2,
        steps=None if closed else getattr(settings, "steps", None),
        # A copy as it was, the master, and for descent a gradient in both types and AdamW's two moments.
        memory_bytes=own * held + trained * (own + _FLOAT32 + (0 if closed else own + 3 * _FLOAT32)),
    )


def whole_model_cost(
    settings: WholeModel, scope: Scope, layers: int, tensors: Mapping[str, Entry], *, times: int = 1
) -> Cost:
    """The whole model in float32, with what the method keeps beside the weights that change; each step `times` over."""
    whole = sum(math.prod(entry.shape) for entry in tensors.values())
    changing = settings.changing(layers)
    if settings.rank is None:
        trained = whole if changing is None else _size(tensors, changing, layers)
    else:
        trained = settings.rank * sum(sum(shape) for shape in _maps(tensors, changing, layers))
    beside = settings.kept + settings.reference + (settings.rank is not None)
    return Cost(
        scope=scope,
        trained_parameters=trained,
        blocks=layers,
        model_copies=2 if settings.reference and trained == whole else 1,
        forward_passes=times * settings.passes.forward,
        backward_passes=times * settings.passes.backward,
        steps=settings.steps if isinstance(settings, Objective) else None,
        memory_bytes=_FLOAT32 * (whole + trained * beside),
    )


def _size(tensors: Mapping[str, Entry], train: Trained, layers: int) -> int:
    return sum(
        math.prod(tensors[name].shape)
        for layer in train.layers
        if layer < layers
        for name, inner in _within(tensors, layer).items()
        if any(inner.startswith(f"{module}.") for module in train.modules)
    )


def _maps(tensors: Mapping[str, Entry], changing: Trained | None, layers: int) -> list[tuple[int, ...]]:
    """The shapes of the blocks' matrices that an adapter sits on."""
    return [
        tensors[name].shape
        for layer in (range(layers) if changing is None else changing.layers)
        for name, inner in _within(tensors, layer).items()
        if len(tensors[name].shape) == 2
        and (changing is None or any(inner.startswith(f"{module}.") for module in changing.modules))
    ]


def _within(tensors: Mapping[str, Entry], layer: int) -> dict[str, str]:
    """The tensors of one block: name → name from the block down."""
    inner = {name: names_within([name], layer) for name in tensors}
    return {name: found[0] for name, found in inner.items() if found}
