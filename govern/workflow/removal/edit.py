"""Running a method on a model, and holding what comes out against the model: for `apply` and `reproduce` alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError, RemovalError
from govern.models.export import edited_tensors
from govern.models.loading import empty_model
from govern.models.names import names_of, stored_entries, with_copies
from govern.records import EditCheck
from govern.unlearning.method import Method
from govern.unlearning.protocol import Edit, Request

if TYPE_CHECKING:
    from torch import Tensor


def make_edit(method: Method, request: Request[Any]) -> Edit:
    """The edit that a method makes, with every copy that the checkpoint stores of a tied weight.

    Raises RemovalError where the method gives up, where a figure of it is no finite number, or where it edits two
    copies of one weight differently.
    """
    edit: Edit = method.edit(request)
    for name, figure in edit.figures.items():
        if not isfinite(figure):
            raise RemovalError(
                f"the figure {name!r} is {figure}, so the edit cannot be judged",
                where="removal",
                hint="The model's activations are no finite numbers in `dtype`, or there is no text to measure it on.",
            )
    model = empty_model(request.model_path, trust_remote_code=request.trust_remote_code)
    return replace(edit, tensors=with_copies(request.model_path, model, edit.tensors))


def refuse_unstored(settings: Any, path: Path, *, layers: int, trust_remote_code: bool) -> None:
    """Raise RemovalError where a weight that the settings would change is not stored one to one in the checkpoint.

    An edit of such a weight could not be written: experts that loading fuses, say, or a map that it puts together.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    from govern.unlearning.activations import find_blocks
    from govern.unlearning.parameters import parameters_of, stored_as

    model = empty_model(path, trust_remote_code=trust_remote_code)
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = dict(model.named_parameters())
    trained = settings.changing(layers) if hasattr(settings, "changing") else settings.train
    if trained is not None:
        blocks = find_blocks(model)
        chosen = {
            own[id(parameter)]: parameter
            for layer in trained.layers
            for module in trained.modules
            for parameter in parameters_of(blocks, layer, module).values()
        }
    if getattr(settings, "rank", None) is not None:
        head = model.get_output_embeddings()
        maps = {
            f"{name}.weight"
            for name, each in model.named_modules()
            if isinstance(each, nn.Linear | Conv1D) and each is not head
        }
        chosen = {name: parameter for name, parameter in chosen.items() if name in maps}
    entries = names_of(model, path).stored
    for name, parameter in chosen.items():
        stored_as(name, parameter, entries)


def check_edit(base: Path, tensors: Mapping[str, Tensor], *, trust_remote_code: bool) -> EditCheck:
    """Hold the edited model's bytes, as they would be written, against the base model's.

    Raises IntegrityError where bytes outside the edit's tensors differ or copies of a tied weight do, RemovalError
    where nothing differs.
    """
    changed = edited_tensors(base, tensors)
    if not changed:
        raise RemovalError("the method changed no weight", where="removal")
    entries = stored_entries(base)
    named = names_of(empty_model(base, trust_remote_code=trust_remote_code), base).copies
    copies = tuple(names for names in named if tensors.keys() & set(names))
    for first, *rest in copies:
        for other in rest:
            if not {first, other} <= tensors.keys() or not tensors[first].equal(tensors[other]):
                raise IntegrityError(f"{first} and {other} are one weight, and the edit writes them differently")
    return EditCheck(changed=len(changed), unchanged=len(entries.keys() - tensors.keys()), copies=copies)
