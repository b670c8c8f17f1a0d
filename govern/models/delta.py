"""Deltas: the changed tensors of a model, whole, in the checkpoint's dtype and names, bound to the base model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from govern.digests import canonical_json, sha256_bytes
from govern.errors import IntegrityError
from govern.models.names import live_names
from govern.workspace import write_atomic

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_KEY = "govern.delta"
_FORMAT_VERSION = 1


def write_delta(path: Path, tensors: Mapping[str, torch.Tensor], *, base_digest: str) -> str:
    """Write a delta atomically and return its SHA-256. The same tensors and base always give the same bytes."""
    data = delta_bytes(tensors, base_digest=base_digest)
    write_atomic(path, data)
    return sha256_bytes(data)


def delta_bytes(tensors: Mapping[str, torch.Tensor], *, base_digest: str) -> bytes:
    """A delta as the bytes of its file."""
    from safetensors.torch import save

    # One metadata key: safetensors writes several of them in no fixed order.
    metadata = {_KEY: _metadata(base_digest)}
    return save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}, metadata=metadata)


def read_delta(path: Path, *, sha256: str, base_digest: str) -> dict[str, torch.Tensor]:
    """Read a delta. Raises IntegrityError where it is not the file of that SHA-256, or belongs to another model."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from govern.models.headers import read_header

    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"the delta cannot be read: {error.strerror}", where=str(path)) from None
    found = sha256_bytes(data)
    if found != sha256:
        raise IntegrityError(
            f"the delta changed: it is sha256:{found}, the removal recorded sha256:{sha256}",
            where=str(path),
            hint="Restore it from a backup, or apply the policy again.",
        )
    stated = read_header(path).metadata.get(_KEY)
    if stated != _metadata(base_digest):
        raise IntegrityError(
            f"the delta says {stated or 'nothing of its base model'}, expected {_metadata(base_digest)}",
            where=str(path),
            hint="It belongs to another model.",
        )
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise IntegrityError(f"the delta is damaged: {error}", where=str(path)) from None


def apply_delta(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put a delta's tensors into a loaded model, cast to its dtype and device.

    Raises IntegrityError for a name or a shape that the model does not have, before anything is changed.
    """
    import torch

    own = live_names(model, tensors)
    everything = dict(model.named_parameters(remove_duplicate=False))
    parameters = {name: everything[own[name]] for name in tensors if own.get(name) in everything}
    for name, tensor in tensors.items():
        if name not in parameters:
            raise IntegrityError(f"the model has no parameter {name!r}", hint="The removal belongs to another model.")
        if parameters[name].shape != tensor.shape:
            raise IntegrityError(
                f"{name} is {list(parameters[name].shape)} in the model, {list(tensor.shape)} in the removal",
                hint="The removal belongs to another model.",
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


def _metadata(base_digest: str) -> str:
    return canonical_json({"base_digest": base_digest, "format_version": _FORMAT_VERSION}).decode()
