"""Models: identity, loading whole or in part, deltas, export. Importing this loads no torch."""

from govern.models.delta import apply_delta, delta_bytes, read_delta, write_delta
from govern.models.export import edited_digest, export_model
from govern.models.headers import read_tensors
from govern.models.identity import identify
from govern.models.loading import SPREAD, empty_model, load_config, load_model, load_tokenizer
from govern.models.names import live_tensors
from govern.sources.model_files import model_digest

__all__ = [
    "SPREAD",
    "apply_delta",
    "delta_bytes",
    "edited_digest",
    "empty_model",
    "export_model",
    "identify",
    "live_tensors",
    "load_config",
    "load_model",
    "load_tokenizer",
    "model_digest",
    "read_delta",
    "read_tensors",
    "write_delta",
]
