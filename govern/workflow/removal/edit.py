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

    Raises RemovalError where the method gives up, where a weight or a figure of it is no finite number, or where it
    edits two copies of one weight differently.
    """
    edit: Edit = method.edit(request)
    for name, tensor in edit.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise RemovalError(
                f"{name} holds values that are not finite numbers in {str(tensor.dtype).removeprefix('torch.')}",
                where="removal",
                hint="The edit is too strong for the type that the checkpoint keeps the weight in.",
            )
    for name, figure in edit.figures.items():
        if not isfinite(figure):
            raise RemovalError(
                f"the figure {name!r} is {figure}, so the edit cannot be judged",
                where="removal",
                hint="The model's activations are no finite numbers in `dtype`, or there is no text to measure it on.",
            )
    model = empty_model(request.model_path, trust_remote_code=request.trust_remote_code)
    return replace(edit, tensors=with_copies(request.model_path, model, edit.tensors))


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
