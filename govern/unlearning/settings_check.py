"""What settings ask of a model, checked against its shape before any weight is loaded. No torch here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from govern.models.headers import Entry
from govern.unlearning.settings import Steering, Trained

# What the names of all experts' tensors have in common, and of nothing else: shared experts are plain modules.
EXPERT = ".experts."


class MethodRefusal(NamedTuple):
    """Something that the model cannot do. `location` is the path below the policy's `removal`, such as
    ("train", "layers", 1), so that the caller can name its line and column."""

    location: tuple[str | int, ...]
    message: str


def check_steering(settings: Steering, layers: int, tensors: Mapping[str, Entry]) -> tuple[MethodRefusal, ...]:
    """What a model of `layers` blocks, whose checkpoint holds `tensors`, refuses; empty where all is well."""
    refusals: list[MethodRefusal] = []
    last = layers - 1
    if settings.layer > last:
        refusals.append(MethodRefusal(("layer",), f"layer {settings.layer} is out of range: the model has 0 to {last}"))
    for place, layer in enumerate(settings.train.layers):
        if layer > settings.layer:
            message = f"layer {layer} lies above layer {settings.layer}, whose output it cannot change"
            refusals.append(MethodRefusal(("train", "layers", place), message))
    reached = [refusal.location for refusal in refusals]
    refusals += [each for each in check_trained(settings.train, layers, tensors) if each.location not in reached]
    return tuple(refusals)


def check_trained(train: Trained, layers: int, tensors: Collection[str]) -> list[MethodRefusal]:
    """What such a model refuses of the modules and blocks that are to change."""
    refusals = []
    last = layers - 1
    for place, layer in enumerate(train.layers):
        location = ("train", "layers", place)
        if layer > last:
            refusals.append(MethodRefusal(location, f"layer {layer} is out of range: the model has 0 to {last}"))
        if layer in train.layers[:place]:
            refusals.append(MethodRefusal(location, f"layer {layer} is named twice"))
    blocks = [layer for layer in train.layers if layer <= last]
    for place, module in enumerate(train.modules):
        for layer in blocks:
            message = _refuse_module(names_within(tensors, layer), layer, module)
            if message:
                refusals.append(MethodRefusal(("train", "modules", place), message))
                break
    return refusals


def _refuse_module(names: Collection[str], layer: int, module: str) -> str | None:
    """Why a block that holds tensors of these names has no such module to train; None where it has."""
    modules = {name.rpartition(".")[0] for name in names}
    found = {name for name in modules if f"{name}.".startswith(f"{module}.")}
    if found and not any(EXPERT in f".{name}." for name in found):
        return None
    known = ", ".join(sorted(name for name in modules if EXPERT not in f".{name}.")) or "none"
    if len(known) < len(", ".join(modules)):
        return (
            f"block {layer} is a mixture of experts, so {module!r} is no single module of it; what it has once: {known}"
        )
    return f"block {layer} has no module {module!r} of its own in the checkpoint; it has: {known}"


def names_within(tensors: Collection[str], layer: int) -> list[str]:
    """The names of one block's tensors, from the block down."""
    # "model.layers.5.mlp.down_proj.weight" is "mlp.down_proj.weight" of block 5; the first number is the block's.
    block = re.compile(rf"\D*\b{layer}\.(.+)")
    return [found[1] for name in tensors if (found := block.fullmatch(name))]
