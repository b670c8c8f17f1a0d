"""Which files of a folder are the model, in one list: its digest covers them, and loading sees nothing else.

Exactly the weights that loading reads are counted: `model.safetensors`, or the index and the shards that it names.
Other safetensors in the folder (a second copy in another layout, say) are no part of the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from govern.digests import canonical_digest, sha256_file
from govern.errors import SourceError
from govern.sources.checked_json import read_object, require_file, walk

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
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
COMPANIONS = ("LICENSE*", "NOTICE*", "preprocessor_config.json", "processor_config.json")
"""What travels with a model and is never loaded here: its terms, and how images become its input."""

Rule = Literal[1, 2]
"""What a digest covers: 1 is what it was before docs/decisions/0010, 2 is all that loading reads."""

ADDED_BY_RULE_2 = (
    GENERATION,
    "additional_chat_templates/*.jinja",
    "**/*.py",
    # The vocabularies that tokenizers of transformers name, besides those above.
    "tokenizer.model.*",
    "tiktoken.model",
    "sentencepiece.model",
    "spm.model",
    "spm_char.model",
    "*.spm",
    "vocab-src.json",
    "vocab-tgt.json",
    "target_vocab.json",
    "prophetnet.tokenizer",
    "bpe.codes",
    "emoji.json",
    "normalizer.json",
    "byte_maps.json",
    "dict.txt",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

# What in these files would make loading read something else, wherever it stands in them.
_REDIRECTS: Final = {
    CONFIG: ("transformers_weights", "configuration_files", "pretrained_model_name_or_path", "use_pretrained_backbone"),
    TOKENIZER_CONFIG: ("fast_tokenizer_files", "transformers_weights", "configuration_files"),
    GENERATION: ("configuration_files", "transformers_weights"),
}
# Tokenizers of transformers are made from `…_file` arguments; this one is written by old versions and never read.
_UNREAD_FILE_KEYS: Final = ("special_tokens_map_file",)
_LARGEST_CONFIG = 16 << 20  # bytes
_LARGEST_TEXT = 1 << 30


def shard_names(folder: Path) -> tuple[str, ...]:
    """The safetensors files that loading reads, relative to `folder`, sorted.

    Raises SourceError where there are none, where only pickle weights are there, or where the index leaves the folder.
    """
    if (folder / SINGLE).exists() or (folder / SINGLE).is_symlink():
        return (SINGLE,)
    if (folder / INDEX).exists():
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
    """The shards that an index names. Raises SourceError where it is no index or names a path outside its folder."""
    none = "the file is not an index of safetensors shards"
    try:
        named = read_object(index).get("weight_map")
    except SourceError as error:
        raise SourceError(f"{none}: {error.message}", where=error.where) from None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise SourceError(f"{none}: `weight_map` names no files", where=str(index))
    names = sorted(set(named.values()))
    for name in names:
        path = PurePosixPath(name)
        inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
        if not inside or path.suffix != ".safetensors":
            raise SourceError(
                f"`weight_map` of the index names {name!r}, which is no shard in its folder", where=str(index)
            )
    return tuple(names)


def model_files(folder: Path, *, rule: Rule = 2) -> tuple[str, ...]:
    """The files whose content is the model, relative to `folder`, sorted; by an earlier `rule`, what that one covered.

    Raises SourceError where the folder is no model or lacks a shard, where a file is no regular file within it, where
    a config leads elsewhere, and for an adapter, which transformers would apply silently.
    """
    if not folder.is_dir():
        raise SourceError("there is no such folder", where=str(folder))
    if not (folder / CONFIG).exists():
        raise SourceError(f"the folder holds no {CONFIG}", where=str(folder))
    if (folder / "adapter_config.json").exists():
        raise SourceError(
            "the folder holds an adapter beside the model",
            where=str(folder / "adapter_config.json"),
            hint="Merge it into the model (merge_and_unload of peft) and save the result, or remove it.",
        )
    shards = shard_names(folder)
    for name in shards:
        if not (folder / name).exists():
            raise SourceError(f"the shard {name} is missing", where=str(folder), hint="Fetch the model again.")
    names = {CONFIG, *shards, *matching(folder, TOKENIZER)}
    if shards != (SINGLE,):
        names.add(INDEX)
    added = {*matching(folder, ADDED_BY_RULE_2)}
    for name in names | added:
        _refuse_outside(folder, name)
        require_file(folder / name, largest=None if name in shards else _LARGEST_TEXT)
    for name in _REDIRECTS:
        if name in names | added:
            _refuse_redirects(folder / name)
    return tuple(sorted(names | added if rule == 2 else names))


def matching(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The names of what in `folder` matches one of `patterns` and is no folder, sorted."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if not path.is_dir()}
    return tuple(sorted(path.relative_to(folder).as_posix() for path in found))


@contextmanager
def only_model_files(folder: Path) -> Iterator[Path]:
    """A folder that shows the `model_files` of `folder` and nothing else, for a library that looks for files itself."""
    names = model_files(folder)
    with tempfile.TemporaryDirectory(prefix="govern-model-") as scratch:
        shown = Path(scratch) / "model"
        for name in names:
            (shown / name).parent.mkdir(parents=True, exist_ok=True)
            (shown / name).symlink_to((folder / name).resolve())
        yield shown


def model_digest(path: Path, *, like: str | None = None) -> str:
    """SHA-256 over the RFC 8785 form of [[relative path, SHA-256], …], sorted by path, of a folder's `model_files`.

    Where `like` is what the first rule gives, that: it was recorded before there was another. One rule cannot give the
    other's digest of anything, since the names that it covers are part of it. Raises SourceError where the folder is no
    model.
    """
    files = {name: sha256_file(path / name) for name in model_files(path)}
    return digest_of_files(path, files, like=like)


def digest_of_files(path: Path, files: dict[str, str], *, like: str | None = None) -> str:
    """The digest of a model whose files, those of the folder `path` by name, have these SHA-256; `like` as above."""
    now = canonical_digest([[name, files[name]] for name in sorted(files)])
    if like in (None, now):
        return now
    before = canonical_digest([[name, files[name]] for name in model_files(path, rule=1)])
    return before if before == like else now


def _refuse_outside(folder: Path, name: str) -> None:
    """Raise SourceError where a link leads out of the folder. The hub's cache links to the `blobs` beside it."""
    root = folder.resolve()
    allowed = [root, *([root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [])]
    try:
        target = (folder / name).resolve()
    except (OSError, RuntimeError):
        target = Path("/")
    if not any(target.is_relative_to(place) for place in allowed):
        raise SourceError(
            f"{name} is a link that leaves the model's folder", where=str(folder / name), hint="Copy the file there."
        )


def _refuse_redirects(path: Path) -> None:
    """Raise SourceError, naming the key, where a config makes loading read what is not in the list of files."""
    for pointer, value in walk(read_object(path, largest=_LARGEST_CONFIG)):
        key = pointer.rpartition("/")[2]
        if _redirects(path.name, key, value):
            raise SourceError(
                f"`{key}` makes loading read something else than the model's files",
                where=f"{path}{pointer}",
                hint="The model's digest would not cover it. Copy what it names into the folder under its usual name, "
                "and take the key out.",
            )


def _redirects(file: str, key: str, value: Any) -> bool:
    if value in (None, False, [], {}, ""):
        return False
    if key in _REDIRECTS[file]:
        return True
    if key == "auto_map":
        return any(isinstance(inner, str) and "--" in inner for _, inner in walk(value))
    if key.endswith(("attn_implementation", "experts_implementation")):
        return isinstance(value, str) and "/" in value
    return (
        file == TOKENIZER_CONFIG and key.endswith("_file") and key not in _UNREAD_FILE_KEYS and isinstance(value, str)
    )
