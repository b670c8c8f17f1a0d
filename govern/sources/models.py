"""From a source to a model folder on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.errors import SourceError, UsageError
from govern.progress import Progress, silent
from govern.sources.builtin import builtin_model
from govern.sources.hub import hub_model, licence_on_card
from govern.sources.manifest import manifest_of
from govern.sources.model_files import model_files
from govern.sources.source import parse_source


@dataclass(frozen=True)
class ResolvedModel:
    """A folder with config, tokenizer and safetensors. `revision` is the hub's commit, `licence` None if unknown."""

    path: Path
    source: str
    revision: str | None
    licence: str | None


def resolve_model(source: str, *, revision: str | None, base: Path, progress: Progress = silent) -> ResolvedModel:
    """Have a model on this machine, fetching it where needed. Relative `file:` paths start at `base`.

    Raises UsageError for a source that can be no model, SourceError for one that cannot be had.
    """
    parsed = parse_source(source)
    if revision is not None and parsed.scheme != "hf":
        raise UsageError(f"{source} has no revisions", hint="Only hf: models have one; leave `revision` out.")
    if parsed.scheme == "self":
        raise UsageError("self: is text sampled from the model; it cannot be the model")
    if parsed.scheme == "builtin":
        path = builtin_model(parsed.name, progress=progress)
        return ResolvedModel(path, source, None, manifest_of(parsed.name).licence)
    if parsed.scheme == "file":
        path = base / Path(parsed.name).expanduser()
        model_files(path)
        return ResolvedModel(path, source, None, licence_on_card(path))
    path = hub_model(parsed.name, revision=revision)
    try:
        model_files(path)
    except SourceError as error:
        raise SourceError(error.message, where=source, hint=error.hint) from None
    return ResolvedModel(path, source, path.name, licence_on_card(path))
