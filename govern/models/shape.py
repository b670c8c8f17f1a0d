"""Whether a config describes the tensors that lie beside it, found out before any weight is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError, SourceError
from govern.models.loading import load_config
from govern.models.names import names_of, stored_entries
from govern.sources.checked_json import read_object, walk
from govern.sources.model_files import CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LARGEST = 1 << 53
_BOUNDS = (
    # What is built one by one: above this, building would not end.
    (re.compile(r"num_hidden_layers|n_layers?|num_layers|num_blocks|depth|(en|de)coder_layers"), 1 << 16),
    (re.compile(r".*experts.*"), 1 << 12),
    # What tables are computed for.
    (re.compile(r".*position.*|n_ctx|max_seq_len|context_length|seq_length"), 1 << 24),
    (re.compile(r"(num|n)_(?!embd|inner|parameters|params|tokens).*"), 1 << 16),
    (re.compile(r".*(_size|_dim|n_embd|n_inner|d_model|d_ff)"), 1 << 26),
)
_LAYERS = _BOUNDS[0][0]
_POSITIONS = re.compile(r"\b(wpe|embed_positions|pos(ition)?_emb(eddings?)?)\.weight$")


@dataclass(frozen=True)
class Limits:
    """How many token ids a model embeds, and how many positions it was made for: None where there is no such number.

    `learned` positions end there; computed ones (RoPE, ALiBi) go on, into what the model has not seen.
    """

    vocabulary: int
    positions: int | None
    learned: bool


def limits_of(path: Path, *, trust_remote_code: bool = False) -> Limits:
    """The limits of the model in a folder. Raises SourceError as loading a config does."""
    text = load_config(path, trust_remote_code=trust_remote_code).get_text_config(decoder=True)
    positions = getattr(text, "max_position_embeddings", None)
    known = positions if type(positions) is int and positions > 0 else None
    learned = any(_POSITIONS.search(name) and len(entry.shape) == 2 for name, entry in stored_entries(path).items())
    return Limits(text.vocab_size, known, learned)


def refuse_unbounded(path: Path, *, tensors: int) -> None:
    """Raise SourceError, naming file and field, for numbers that no model of so many stored tensors can have."""
    config = read_object(path / CONFIG)
    if not isinstance(config.get("model_type", ""), str):
        raise _refusal(path, "/model_type", "is no name")
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise _refusal(path, "/architectures", "is no list of names")
    for pointer, value in walk(config):
        key = pointer.rpartition("/")[2]
        if type(value) is not int:
            continue
        if not -_LARGEST <= value <= _LARGEST:
            raise _refusal(path, pointer, "is no number that a model can have")
        if _LAYERS.fullmatch(key) and not 0 <= value <= tensors:
            raise _refusal(path, pointer, f"says {value:,}, and the folder stores {tensors:,} tensors")
        for pattern, largest in _BOUNDS:
            if pattern.fullmatch(key) and value > largest:
                raise _refusal(path, pointer, f"says {value:,}, which is more than {largest:,}")


def refuse_other_tensors(path: Path, model: PreTrainedModel) -> None:
    """Hold an empty model, built from the config alone, against what the folder stores.

    Raises SourceError, naming the field or the tensor, where a shape is another or the tokenizer knows ids beyond the
    embedding, IntegrityError where weights are missing, which would be random.
    """
    text = model.config.get_text_config(decoder=True)
    for field in ("num_hidden_layers", "hidden_size"):
        value = getattr(text, field, None)
        if type(value) is not int or value < 1:
            raise _refusal(path, f"/{field}", "is no positive whole number")
    names, state = names_of(model, path), model.state_dict()
    for own, entry in names.stored.items():
        if entry.shape != tuple(state[own].shape):
            raise SourceError(
                f"{entry.name} is stored as {list(entry.shape)}, and {CONFIG} makes it {list(state[own].shape)}",
                where=str(path),
                hint="The config is another model's, or one of its sizes is wrong.",
            )
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    missing = [own for own in state if own not in names.covered and not any(each.search(own) for each in ignored)]
    if missing:
        raise IntegrityError(
            f"the checkpoint lacks {len(missing)} weights, {min(missing)} among them",
            where=str(path),
            hint="Fetch the model again.",
        )
    embedding: Any = model.get_input_embeddings()
    if embedding is not None and (path / "tokenizer.json").is_file():
        _refuse_ids_beyond(path / "tokenizer.json", embedding.weight.shape[0])


def _refuse_ids_beyond(path: Path, rows: int) -> None:
    """Added tokens may lie beyond: some are for images, and a model that reads text alone has no row for them."""
    vocabulary = (read_object(path).get("model") or {}).get("vocab")
    if isinstance(vocabulary, dict):
        ids = [number for number in vocabulary.values() if type(number) is int]
        largest = max(ids, default=0)
    else:
        largest = len(vocabulary or ()) - 1
    if largest >= rows:
        raise SourceError(
            f"`vocab` knows the id {largest:,}, and the model's embedding has {rows:,} rows",
            where=str(path),
            hint="The tokenizer is another model's.",
        )


def _refusal(path: Path, pointer: str, message: str) -> SourceError:
    return SourceError(f"`{pointer.rpartition('/')[2]}` {message}", where=f"{path / CONFIG}{pointer}")
