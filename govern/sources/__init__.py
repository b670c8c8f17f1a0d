"""Where text and models come from: `builtin:`, `file:`, `hf:`, `self:`. Importing this loads no torch."""

from govern.sources.cache import cache_folder
from govern.sources.hub import hub_dataset
from govern.sources.manifest import BUILTIN_MODELS
from govern.sources.models import ResolvedModel, resolve_model
from govern.sources.source import Source, parse_source
from govern.sources.texts import ResolvedTexts, resolve_texts

__all__ = [
    "BUILTIN_MODELS",
    "ResolvedModel",
    "ResolvedTexts",
    "Source",
    "cache_folder",
    "hub_dataset",
    "parse_source",
    "resolve_model",
    "resolve_texts",
]
