"""Stored names and live names: how a checkpoint calls a weight, and how the loaded model does.

They differ where a checkpoint was saved without its prefix (GPT-2, BLOOM, OPT as published), or where transformers
renames on loading (multimodal Gemma 3). This is the one place that knows; deltas and exports keep stored names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from govern.errors import RemovalError
from govern.models.headers import Entry, read_header, read_tensors
from govern.sources.model_files import shard_names

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Names:
    """One model's names.

    `stored` is how the checkpoint keeps a live parameter, for those that it keeps one to one. `copies` are the stored
    names of each weight that is tied and stored more than once, all equal. `apart` are live names of parameters that
    the config ties and that are stored with different values: they are weights of their own. `covered` are all live
    names that something in the checkpoint fills.
    """

    stored: Mapping[str, Entry]
    copies: tuple[tuple[str, ...], ...]
    apart: tuple[str, ...]
    covered: frozenset[str]


def stored_entries(path: Path) -> dict[str, Entry]:
    """All tensors of a model folder by stored name. Raises SourceError and IntegrityError for a damaged one."""
    return {name: entry for shard in shard_names(path) for name, entry in read_header(path / shard).tensors.items()}


def names_of(model: PreTrainedModel, path: Path) -> Names:
    """The names of a model that was loaded, whole or in part, or built empty, from the folder `path`."""
    entries = stored_entries(path)
    live, covered = _live_names(model, entries)
    groups: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups[id(parameter)].append(name)
    members: dict[str, list[str]] = defaultdict(list)
    for name, own in live.items():
        members[own].append(name)
    stored: dict[str, Entry] = {}
    copies: list[tuple[str, ...]] = []
    apart: list[str] = []
    for tied in _joined(groups.values(), _ties(model)):
        kept = [name for own in tied for name in members.get(own, ())]
        if not kept:
            continue
        covered.update(tied)
        if len(kept) == 1 or _equal(path, kept):
            stored |= {own: entries[members[own][0] if own in members else kept[0]] for own in tied}
            copies += [tuple(sorted(kept))] if len(kept) > 1 else []
        else:
            stored |= {own: entries[members[own][0]] for own in tied if own in members}
            apart += [own for own in tied if own in members]
    return Names(stored, tuple(copies), tuple(apart), frozenset(covered))


def missing_weights(model: PreTrainedModel, names: Names) -> list[str]:
    """The live names of what nothing in the checkpoint fills, and loading would make up."""
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    missing = (own for own in model.state_dict() if own not in names.covered)
    return [own for own in missing if not any(pattern.search(own) for pattern in ignored)]


def live_names(model: PreTrainedModel, stored: Iterable[str]) -> dict[str, str]:
    """How a model calls its parameters, by stored name; what it does not keep one to one is left out."""
    return _live_names(model, stored)[0]


def live_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by live name, given by stored name."""
    own = live_names(model, tensors)
    return {own.get(name, name): tensor for name, tensor in tensors.items()}


def with_copies(path: Path, model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Edited tensors by stored name, with every copy that the checkpoint keeps of the same tied weight.

    Raises RemovalError where two copies of one weight were edited differently.
    """
    import torch

    found = dict(tensors)
    for names in names_of(model, path).copies:
        edited = [name for name in names if name in tensors]
        if any(not torch.equal(tensors[edited[0]], tensors[name]) for name in edited[1:]):
            raise RemovalError(
                f"{' and '.join(edited)} are one weight in the model and were edited differently",
                where=str(path / "config.json"),
                hint="The config ties them: set `tie_word_embeddings` to false in the base model, or edit both alike.",
            )
        if edited:
            found |= {name: tensors[edited[0]].clone() for name in names}
    return found


def _live_names(model: PreTrainedModel, stored: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Live names by stored name, of weights kept one to one; and all live names that are filled, however."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    # As loading does: the order matters, since some renamings wait for a name that comes before.
    state = model.state_dict()
    conversions = get_model_conversion_mapping(model)
    renamings = [each for each in conversions if isinstance(each, WeightRenaming)]
    converters = [each for each in conversions if isinstance(each, WeightConverter)]
    targets = {pattern: each.target_patterns for each in converters for pattern in each.source_patterns}
    found: dict[str, str] = {}
    covered: set[str] = set()
    for name in sorted(stored, key=dot_natural_key):
        own, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, state)
        if own not in state and name in state:
            own, pattern = rename_source_key(name, [], [], model.base_model_prefix, state)
        if pattern is not None:
            first, *_ = targets[pattern]
            covered.update(own.replace(first, target) for target in targets[pattern])
        elif own in state:
            found[name] = own
            covered.add(own)
    return found, covered


def _ties(model: PreTrainedModel) -> Iterator[tuple[str, str]]:
    yield from model.get_expanded_tied_weights_keys(all_submodels=True).items()


def _joined(groups: Iterable[list[str]], ties: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names, those joined that a pair links."""
    joined = {name: group for group in groups for name in group}
    for one, other in ties:
        if one in joined and other in joined and joined[one] is not joined[other]:
            together = joined[one] + joined[other]
            joined |= dict.fromkeys(together, together)
    return list({id(group): group for group in joined.values()}.values())


def _equal(path: Path, names: list[str]) -> bool:
    import torch

    first, *rest = (read_tensors(path, [name])[name] for name in names)
    return all(first.dtype == other.dtype and torch.equal(first, other) for other in rest)
