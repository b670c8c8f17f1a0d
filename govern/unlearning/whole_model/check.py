"""What the whole-model methods ask of a model, checked against its shape before any weight is loaded. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

from govern.models.headers import Entry
from govern.unlearning.settings_check import EXPERT, Refusal, check_trained
from govern.unlearning.whole_model.settings import DepnSettings, WholeModel

_FLOATS = {"F64", "F32", "F16", "BF16"}


def check_whole_model(settings: WholeModel, *, layers: int, tensors: Mapping[str, Entry]) -> tuple[Refusal, ...]:
    """What a model of `layers` blocks, whose checkpoint holds `tensors`, refuses; empty where all is well."""
    refusals: list[Refusal] = []
    changing = settings.changing(layers)
    if changing is not None:
        for location, message in check_trained(changing, layers, tensors):
            # What the method chose by itself is nowhere in the policy, so the method is at fault there.
            refusals.append(Refusal(location if settings.train else ("method",), message))
    elif settings.rank is None and any(EXPERT in f".{name}." for name in tensors):
        refusals.append(
            Refusal(
                ("method",),
                "the model is a mixture of experts, whose weights the checkpoint keeps otherwise than the model does; "
                "name modules that it has once under `train`, or train an adapter (lora_rank)",
            )
        )
    if isinstance(settings, DepnSettings) and settings.train is not None and len(settings.train.modules) > 1:
        refusals.append(Refusal(("train", "modules", 1), "neurons are the inputs of one module a block"))
    strange = next((name for name, entry in tensors.items() if entry.dtype not in _FLOATS), None)
    if strange is not None:
        refusals.append(
            Refusal(
                ("method",),
                f"the checkpoint stores {strange!r} as {tensors[strange].dtype}, and training needs floating point: "
                "start from the model before it was quantised",
            )
        )
    return tuple(refusals)
