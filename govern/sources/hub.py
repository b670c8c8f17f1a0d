"""Models on the Hugging Face hub, and the hub's errors in words that say what to do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from govern.errors import SourceError
from govern.sources.checked_json import require_file
from govern.sources.model_files import (
    ADDED_BY_RULE_2,
    COMPANIONS,
    CONFIG,
    INDEX,
    SINGLE,
    TOKENIZER,
    indexed_shards,
    model_files,
)

_DESCRIPTION = (CONFIG, INDEX, *TOKENIZER, *ADDED_BY_RULE_2, "*.py", "README.md", *COMPANIONS)
_LARGEST_CARD = 1 << 20  # bytes
_COMMIT = re.compile("[0-9a-f]{40}")


def hub_model(name: str, *, revision: str | None) -> Path:
    """The local snapshot of a hub model: config, tokenizer, index, the safetensors that loading reads, and the card.

    Its own code (`*.py`) comes along, inert unless a policy says `trust_remote_code`. Pickle weights are never fetched.
    The folder's name is the commit. A commit that the cache holds whole needs no network.
    Raises SourceError where the model is not to be had.
    """
    from huggingface_hub import HfApi

    pinned = revision is not None and _COMMIT.fullmatch(revision)
    try:
        if pinned and (kept := _kept_snapshot(name, revision)):
            return kept
        if pinned and not _offline():
            # Asked first because this fails at once without a network, where a download tries for half a minute.
            HfApi().model_info(name, revision=revision, timeout=20)
        return _snapshot(name, revision)
    except SourceError:
        raise
    except Exception as error:
        explained = explain("model", name, revision, error)
        if explained is None:
            raise
        raise explained from None


def hub_dataset(name: str, *, revision: str, into: Path) -> None:
    """Fetch a hub data set whole into a folder of its own, as plain files.

    Raises SourceError where it is not to be had.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        if not _offline():
            # Asked first because this fails at once without a network, where a download tries for half a minute.
            HfApi().dataset_info(name, revision=revision, timeout=20)
        snapshot_download(name, repo_type="dataset", revision=revision, local_dir=into)
        shutil.rmtree(into / ".cache", ignore_errors=True)
    except Exception as error:
        explained = explain("dataset", name, revision, error)
        if explained is None:
            raise
        raise explained from None


def hub_file(name: str, file: str) -> Path:
    """One file of a hub model, in the hub's own cache. Raises SourceError where it is not to be had."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        if not _offline():
            HfApi().model_info(name, timeout=20)  # fails at once without a network, as for a data set
        return Path(hf_hub_download(name, file))
    except Exception as error:
        explained = explain("model", name, None, error)
        if explained is None:
            raise
        raise explained from None


def _snapshot(name: str, revision: str | None, *, local_files_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(at: str | None, patterns: tuple[str, ...]) -> Path:
        return Path(
            snapshot_download(name, revision=at, allow_patterns=list(patterns), local_files_only=local_files_only)
        )

    folder = fetch(revision, _DESCRIPTION)
    weights = indexed_shards(folder / INDEX) if (folder / INDEX).is_file() else (SINGLE,)
    return fetch(folder.name, weights)


def _kept_snapshot(name: str, commit: str | None) -> Path | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(name, commit, local_files_only=True)
        model_files(folder)
    except (LocalEntryNotFoundError, SourceError):
        return None
    return folder


def licence_on_card(folder: Path) -> str | None:
    """The licence that a model card (README.md) names in its metadata, where there is one."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        require_file(folder / "README.md", largest=_LARGEST_CARD)
        licence = (metadata_load(folder / "README.md") or {}).get("license")
    except (SourceError, OSError, ValueError, AttributeError, RecursionError, yaml.YAMLError):
        return None
    return licence if isinstance(licence, str) else None


def explain(
    kind: Literal["model", "dataset"], name: str, revision: str | None, error: BaseException
) -> SourceError | None:
    """What an error of the hub's libraries means for the user; None where it is not about reaching or having `name`."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
    fetch = f"hf download {name}" + (" --repo-type dataset" if kind == "dataset" else "")
    fetch += f" --revision {revision}" if revision else ""
    yours = "file:DIR with a model folder" if kind == "model" else "file:PATH with a jsonl, txt or parquet file"
    where = f"hf:{name}"
    causes = tuple(_causes(error))

    def is_any(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    if is_any(errors.GatedRepoError):
        return SourceError(
            f"the {kind} {name} is gated: its owner decides who may have it",
            where=where,
            hint=f"Accept its terms at {page}, log in with `hf auth login`, and fetch it with `{fetch}`; "
            f"or name {yours} that you have.",
        )
    if is_any(errors.RevisionNotFoundError):
        return SourceError(f"the {kind} {name} has no revision {revision!r}", where=where, hint=f"Look at {page}.")
    if is_any(errors.OfflineModeIsEnabled) or (_offline() and is_any(errors.LocalEntryNotFoundError, ConnectionError)):
        return SourceError(
            f"the {kind} {name} is not in the local cache and HF_HUB_OFFLINE forbids fetching it",
            where=where,
            hint=f"Unset HF_HUB_OFFLINE, or run `{fetch}` where there is a network and copy its cache (HF_HOME), "
            f"or name {yours}.",
        )
    if is_any(errors.RepositoryNotFoundError, errors.HFValidationError) or any(
        type(cause).__name__ == "DatasetNotFoundError" for cause in causes
    ):
        return SourceError(
            f"the hub knows no {kind} {name}, or it is private",
            where=where,
            hint=f"Check the name at {page}; if it is private, log in with `hf auth login`.",
        )
    if is_any(errors.HfHubHTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) or any(
        type(cause).__name__ in ("ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError") for cause in causes
    ):
        return SourceError(
            f"the {kind} {name} is not in the local cache and the hub cannot be reached",
            where=where,
            hint=f"With a network, run `{fetch}`; without one, set HF_HUB_OFFLINE=1 to use what the cache (HF_HOME) "
            f"holds, or name {yours}.",
        )
    return None


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
