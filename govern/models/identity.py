"""Who a model is, without loading a weight."""

from __future__ import annotations

from math import prod

from govern.models.loading import empty_model
from govern.models.names import stored_entries
from govern.models.shape import refuse_other_tensors, refuse_unbounded
from govern.records import ModelIdentity
from govern.sources.model_files import model_digest, model_files
from govern.sources.models import ResolvedModel


def identify(
    resolved: ResolvedModel, *, trust_remote_code: bool = False, like: ModelIdentity | None = None
) -> ModelIdentity:
    """A model's identity from its files' digests, its config and its safetensors headers.

    `like` is an identity that was recorded earlier: where it is by the first rule of digests, this one is as well.
    Raises SourceError where the config is not one that transformers knows, or does not describe the tensors that the
    folder stores, IntegrityError for a damaged header.
    """
    path = resolved.path
    files = model_files(path)
    entries = stored_entries(path)
    refuse_unbounded(path, tensors=len(entries))
    model = empty_model(path, trust_remote_code=trust_remote_code)
    refuse_other_tensors(path, model)
    config = model.config
    text = config.get_text_config(decoder=True)
    digest = model_digest(path, like=like.digest if like and like.files is None else None)
    first_rule = like is not None and like.files is None and like.digest == digest
    return ModelIdentity(
        source=resolved.source,
        revision=resolved.revision,
        digest=digest,
        architecture=(config.architectures or [type(config).__name__])[0],
        layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        parameters=sum(prod(entry.shape) for entry in entries.values()),
        licence=resolved.licence,
        remote_code=trust_remote_code,
        files=None if first_rule else files,
    )
