"""Running a method on a model, and holding what comes out against the model: for `apply` and `reproduce` alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from govern.errors import IntegrityError, RemovalError
from govern.models.export import edited_tensors
from govern.models.loading import empty_model
from govern.models.names import missing_weights, names_of, stored_entries, with_copies
from govern.records import EditCheck
from govern.unlearning.method import Method
from govern.unlearning.protocol import Edit, RemovalRequest

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


_SMALL: Final = 200_000_000  # weights: 0.8 GB in float32


def make_edit(method: Method, request: RemovalRequest[Any]) -> Edit:
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

    last: int | None = getattr(settings, "layer", None)
    model = empty_model(path, layers=None if last is None else last + 1, trust_remote_code=trust_remote_code)
    # Another distribution's method need not say what it trains: then it may be any weight.
    trained = settings.changing(layers) if hasattr(settings, "changing") else getattr(settings, "train", None)
    if last is not None and trained is not None:
        _rehearse(model, first=min(trained.layers), last=last)
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = dict(model.named_parameters())
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
    names, state = names_of(model, path), model.state_dict()
    entries = names.stored
    other = [name for name, entry in entries.items() if entry.shape != tuple(state[name].shape)]
    other += missing_weights(model, names)
    if other:
        raise RemovalError(
            f"with its first {last} blocks alone the model would have another {min(other)}",
            where="removal.method",
            hint="Choose a method that trains the whole model, such as npo.",
        )
    for name, parameter in chosen.items():
        stored_as(name, parameter, entries)


def _rehearse(model: PreTrainedModel, *, first: int, last: int) -> None:
    """Compute blocks `first` to `last` of an empty model one by one, as steering does: in shapes, without numbers.

    Where a model does not run without numbers, it is given zeros, if it is small enough. Raises RemovalError where it
    runs as a whole and not block by block; where neither can be found out, it is let pass.
    """
    import torch

    from govern.unlearning.activations import Window
    from govern.unlearning.batches import Batch

    model.set_attn_implementation("eager")
    for device in ("meta", "cpu"):
        if device == "cpu":
            if model.num_parameters() > _SMALL:
                return
            model.to_empty(device=device)
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data.zero_()
        # Three: no block hands on so many things, so that a batch is never taken apart as if it were them.
        ids = torch.zeros((3, 8), dtype=torch.long, device=device)
        ones = torch.ones_like(ids)
        with torch.no_grad():
            try:
                model(input_ids=ids, attention_mask=ones, use_cache=False)
            except Exception:  # noqa: S112 -- whatever needs numbers fails in its own way
                continue
            try:
                window = Window(model, first=first, last=last)
                window.replay(window.enter(Batch(ids, ones, ones.bool())))
            except RemovalError:
                raise
            except Exception as error:
                raise RemovalError(
                    f"the blocks of {type(model).__name__} cannot be computed one by one: {type(error).__name__}",
                    where="removal.method",
                    hint="Choose a method that trains the whole model, such as npo.",
                ) from None
        return


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
