"""Who a model is, without loading a weight."""

from __future__ import annotations

from math import prod

from govern.models.headers import read_header
from govern.models.loading import load_config
from govern.records import ModelIdentity
from govern.sources.model_files import model_digest, shard_names
from govern.sources.models import ResolvedModel


def identify(resolved: ResolvedModel, *, trust_remote_code: bool = False) -> ModelIdentity:
    """A model's identity from its files' digests, its config and its safetensors headers.

    Raises SourceError where the config is not one that transformers knows, IntegrityError for a damaged header.
    """
    config = load_config(resolved.path, trust_remote_code=trust_remote_code)
    text = config.get_text_config(decoder=True)
    headers = (read_header(resolved.path / name) for name in shard_names(resolved.path))
    return ModelIdentity(
        source=resolved.source,
        revision=resolved.revision,
        digest=model_digest(resolved.path),
        architecture=(config.architectures or [type(config).__name__])[0],
        layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        parameters=sum(prod(entry.shape) for header in headers for entry in header.tensors.values()),
        licence=resolved.licence,
        remote_code=trust_remote_code,
    )
