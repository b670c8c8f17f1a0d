"""What settings ask of a model, checked against its shape before any weight is loaded. No torch here."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from govern.unlearning.settings import Steering
from govern.unlearning.srmu_settings import SrmuClosedFormSettings


class Refusal(NamedTuple):
    """Something that the model cannot do. `location` is the path below the policy's `removal`, such as
    ("train", "layers", 1), so that the caller can name its line and column."""

    location: tuple[str | int, ...]
    message: str


def check_settings(settings: Steering, *, layers: int, tensors: Collection[str]) -> tuple[Refusal, ...]:
    """What a model of `layers` blocks, with `tensors` as the names in its checkpoint, refuses; empty where all is well.

    The names come from `checkpoint_tensors.stored_tensors`.
    """
    refusals: list[Refusal] = []
    last = layers - 1
    if settings.layer > last:
        refusals.append(Refusal(("layer",), f"layer {settings.layer} is out of range: the model has 0 to {last}"))
    for place, layer in enumerate(settings.train.layers):
        location = ("train", "layers", place)
        if layer > settings.layer:
            refusals.append(
                Refusal(location, f"layer {layer} lies above layer {settings.layer}, whose output it cannot change")
            )
        elif layer > last:
            refusals.append(Refusal(location, f"layer {layer} is out of range: the model has 0 to {last}"))
        if layer in settings.train.layers[:place]:
            refusals.append(Refusal(location, f"layer {layer} is named twice"))
    blocks = [layer for layer in settings.train.layers if layer <= last]
    for place, module in enumerate(settings.train.modules):
        lacking = [layer for layer in blocks if not _holds(tensors, layer, module)]
        if lacking:
            known = ", ".join(sorted(_modules(tensors, lacking[0]))) or "none"
            refusals.append(
                Refusal(
                    ("train", "modules", place),
                    f"block {lacking[0]} has no module {module!r} of its own in the checkpoint; it has: {known}",
                )
            )
    if isinstance(settings, SrmuClosedFormSettings):
        refusals += _refuse_closed_form(settings)
    return tuple(refusals)


def _refuse_closed_form(settings: SrmuClosedFormSettings) -> list[Refusal]:
    refusals = []
    if len(settings.train.modules) > 1:
        refusals.append(Refusal(("train", "modules", 1), "the closed form solves for one module a block"))
    if settings.layer not in settings.train.layers:
        refusals.append(
            Refusal(("train", "layers"), f"the closed form steers each trained block, so layer {settings.layer} is one")
        )
    return refusals


def _holds(tensors: Collection[str], layer: int, module: str) -> bool:
    infix = f".{layer}.{module}."
    return any(infix in f".{name}" for name in tensors)


def _modules(tensors: Collection[str], layer: int) -> set[str]:
    # "model.layers.5.mlp.down_proj.weight" has the module "mlp.down_proj"; of experts one is enough to see the form.
    pattern = re.compile(rf"(?:^|\.){layer}\.((?:[a-z_]\w*\.)+(?:\d+\.\w+\.)?)\w+$")
    return {found[1].rstrip(".") for name in tensors if (found := pattern.search(name))}
