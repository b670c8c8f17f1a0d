"""Which files of a folder are the model: config, tokenizer, index and safetensors files, and nothing else.

Exactly the weights that loading reads are counted: `model.safetensors`, or the index and the shards that it names.
Other safetensors in the folder (a second copy in another layout, say) are no part of the model.
`generation_config.json` is left out: it changes how text is sampled, not what the model computes.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from govern.digests import canonical_digest, sha256_file
from govern.errors import SourceError

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "*.tiktoken",
    "chat_template.jinja",
    "chat_template.json",
)
COMPANIONS = ("generation_config.json", "*.py", "LICENSE*", "NOTICE*")
"""What travels with a model without being part of its identity: sampling defaults, its own code, its terms."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def shard_names(folder: Path) -> tuple[str, ...]:
    """The safetensors files that loading reads, relative to `folder`, sorted.

    Raises SourceError where there are none, where only pickle weights are there, or where the index leaves the folder.
    """
    if (folder / SINGLE).is_file():
        return (SINGLE,)
    if (folder / INDEX).is_file():
        return indexed_shards(folder / INDEX)
    if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        raise SourceError(
            "the model's weights are pickles, which can run code when they are loaded",
            where=str(folder),
            hint="Only safetensors are read. Save the model again with save_pretrained(…) of transformers, "
            "on a machine where you trust the file.",
        )
    raise SourceError(f"the folder holds neither {SINGLE} nor {INDEX}", where=str(folder))


def indexed_shards(index: Path) -> tuple[str, ...]:
    """The files that an index names. Raises SourceError where it is no index or names a path outside its folder."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        paths = [PurePosixPath(name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError("the file is not an index of safetensors shards", where=str(index)) from None
    for path in paths:
        if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
            raise SourceError(f"the index names {str(path)!r}, which is no shard in its folder", where=str(index))
    return tuple(names)


def model_files(folder: Path) -> tuple[str, ...]:
    """The files whose content is the model, relative to `folder`, sorted.

    Raises SourceError where the folder is no model, lacks a shard, or holds an adapter: transformers would apply it
    silently, and no digest of the model would cover it.
    """
    if not folder.is_dir():
        raise SourceError("there is no such folder", where=str(folder))
    if not (folder / CONFIG).is_file():
        raise SourceError(f"the folder holds no {CONFIG}", where=str(folder))
    if (folder / "adapter_config.json").exists():
        raise SourceError(
            "the folder holds an adapter beside the model",
            where=str(folder / "adapter_config.json"),
            hint="Merge it into the model (merge_and_unload of peft) and save the result, or remove it.",
        )
    shards = shard_names(folder)
    for name in shards:
        if not (folder / name).is_file():
            raise SourceError(f"the shard {name} is missing", where=str(folder), hint="Fetch the model again.")
    names = {CONFIG, *shards}
    if shards != (SINGLE,):
        names.add(INDEX)
    return tuple(sorted(names | set(matching(folder, TOKENIZER))))


def matching(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the files directly in `folder` that match one of `patterns`, sorted."""
    return tuple(sorted({path.name for pattern in patterns for path in folder.glob(pattern) if path.is_file()}))


def model_digest(path: Path) -> str:
    """SHA-256 over the RFC 8785 form of [[relative path, SHA-256], …], sorted by path, of a folder's `model_files`.

    Raises SourceError where the folder is no model.
    """
    return digest_of_files({name: sha256_file(path / name) for name in model_files(path)})


def digest_of_files(files: dict[str, str]) -> str:
    """The model digest of files given by relative path and SHA-256."""
    return canonical_digest([[name, files[name]] for name in sorted(files)])
