"""A solver's state on disk: one safetensors file, replaced whole, tied to the removal that wrote it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from govern.errors import IntegrityError
from govern.workspace.atomic import replace_atomic

_AGAIN = "Start the removal afresh, in a new run."


@dataclass(frozen=True)
class State:
    """How far a solver has come: `done` units of its work, tensors, and JSON values."""

    done: int
    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


def save_state(path: Path, state: State, *, fingerprint: str) -> None:
    """Write the state so that `path` holds either the old one or all of this one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    note = json.dumps({"fingerprint": fingerprint, "done": state.done, "values": dict(state.values)})
    try:
        save_file({name: tensor.cpu() for name, tensor in state.tensors.items()}, temporary, metadata={"state": note})
        replace_atomic(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path, *, fingerprint: str) -> State | None:
    """The state at `path`, None where there is none yet.

    Raises IntegrityError where it is damaged, or belongs to other settings, other text or another model.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            note = json.loads(stored.metadata()["state"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise IntegrityError("the solver's checkpoint cannot be read", where=str(path), hint=_AGAIN) from None
    if note["fingerprint"] != fingerprint:
        raise IntegrityError(
            "the solver's checkpoint belongs to other settings, other text or another model",
            where=str(path),
            hint=_AGAIN,
        )
    return State(note["done"], tensors, note["values"])
