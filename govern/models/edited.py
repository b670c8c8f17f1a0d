"""A model that was edited elsewhere, held against the one that it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError, UsageError
from govern.models.headers import Entry, read_header
from govern.models.loading import empty_model, load_config, load_tokenizer
from govern.models.names import names_of, stored_entries
from govern.progress import Progress, silent
from govern.sources.model_files import TOKENIZER, matching, shard_names

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# Of a config, what says how it was saved and not what the model computes.
_PACKAGING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")

# Of a tokenizer, how batches are made of texts.
_BATCHING = ("truncation", "padding")

_SAVE_AGAIN = "Have it saved again as an edit of this base model, with the same tensors in the same type."


def refuse_unlike(base: Path, edited: Path) -> None:
    """Raise UsageError where `edited` is no edit of `base`: another architecture, tokenizer, or set of tensors.

    Tensors must agree by the model's names, shape and type, so that an edit is the tensors that changed and nothing
    else; how they are spread over files, and called there, does not matter. A folder without tokenizer means the base
    model's. No code that comes with either runs. Raises SourceError and IntegrityError as loading does.
    """
    _refuse_other_config(base, edited)
    _refuse_other_tokenizer(base, edited)
    ours, theirs = _entries(base), _entries(edited)
    for names, said in (
        (theirs.keys() - ours.keys(), "tensors that the base model does not have"),
        (ours.keys() - theirs.keys(), "none of the tensors that only the base model has"),
    ):
        if names:
            raise UsageError(
                f"the edited model has {said}: {len(names)}, {min(names)!r} among them",
                where=str(edited),
                hint=_SAVE_AGAIN,
            )
    for name, entry in sorted(ours.items()):
        then, now = (f"{each.dtype} {list(each.shape)}" for each in (entry, theirs[name]))
        if then != now:
            raise UsageError(
                f"{name} is {then} in the base model, {now} in the edited one", where=str(edited), hint=_SAVE_AGAIN
            )


def changed_tensors(base: Path, edited: Path, *, progress: Progress = silent) -> dict[str, torch.Tensor]:
    """The tensors of `edited` that differ from `base` in any bit, whole, by checkpoint name.

    One tensor at a time is read of each model; only the changed ones stay in memory. Raises UsageError where nothing
    differs and IntegrityError where a changed tensor holds values that are not finite.
    """
    import torch
    from safetensors import safe_open

    places = {name: shard for shard in shard_names(edited) for name in read_header(edited / shard).tensors}
    known = _entries(edited)
    theirs = {entry.name: known[own].name for own, entry in _entries(base).items()}
    changed: dict[str, torch.Tensor] = {}
    done = 0
    for shard in shard_names(base):
        with safe_open(base / shard, framework="pt") as before:
            for name in before.keys():  # noqa: SIM118  a safetensors file is no mapping
                with safe_open(edited / places[theirs[name]], framework="pt") as after:
                    old, new = before.get_tensor(name), after.get_tensor(theirs[name])
                done += 1
                progress("compare tensors", done, len(theirs))
                # by bits, so that a NaN is equal to itself
                if torch.equal(_bits(old), _bits(new)):
                    continue
                if new.is_floating_point() and not bool(new.isfinite().all()):
                    raise IntegrityError(
                        f"{name} of the edited model holds values that are not finite numbers, so the model is broken",
                        where=str(edited),
                    )
                changed[name] = new
    if not changed:
        raise UsageError(
            "the edited model is the base model: no tensor differs",
            where=str(edited),
            hint="Name the model that was edited under `removal.model`, and the base model under `model`.",
        )
    return changed


def _refuse_other_config(base: Path, edited: Path) -> None:
    ours, theirs = load_config(base).to_dict(), load_config(edited).to_dict()
    differing = sorted(
        key for key in ours.keys() | theirs.keys() if key not in _PACKAGING and ours.get(key) != theirs.get(key)
    )
    if differing:
        raise UsageError(
            f"the edited model is of another architecture: {', '.join(differing[:5])} of its config differ",
            where=str(edited / "config.json"),
            hint="Name the model that it was edited from under `model`.",
        )


def _refuse_other_tokenizer(base: Path, edited: Path) -> None:
    if not matching(edited, TOKENIZER):
        return
    if _meaning(load_tokenizer(base)) != _meaning(load_tokenizer(edited)):
        raise UsageError(
            "the edited model has another tokenizer than the base model",
            where=str(edited),
            hint="An edit that changes how text is cut cannot be compared question by question.",
        )


def _meaning(tokenizer: PreTrainedTokenizerBase) -> tuple[Any, ...]:
    """What a tokenizer does to text, however its files are written."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend else {}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return tokenizer.get_vocab(), special, {key: rules[key] for key in rules if key not in _BATCHING}


def _entries(folder: Path) -> Mapping[str, Entry]:
    """A folder's tensors by the names that the model gives them; by stored names what it does not keep one to one."""
    stored = names_of(empty_model(folder), folder).stored
    named = {entry.name for entry in stored.values()}
    return {**stored, **{name: entry for name, entry in stored_entries(folder).items() if name not in named}}


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
