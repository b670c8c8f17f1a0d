"""What a plan refuses of a model's architecture, and what is checked of every edit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from architectures import save_tiny

from govern.errors import IntegrityError, RemovalError
from govern.models import read_tensors
from govern.models.export import edited_tensors
from govern.records import CurvePoint
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.workflow.removal import edit as module
from govern.workflow.removal.edit import check_edit, make_edit, refuse_unstored

NAME = "model.layers.1.mlp.down_proj.weight"


def steering(*modules: str) -> SimpleNamespace:
    return SimpleNamespace(layer=2, train=SimpleNamespace(layers=[1, 2], modules=list(modules)))


@pytest.mark.parametrize(
    ("name", "module", "refused"),
    [
        ("llama", "mlp.down_proj", None),
        ("llama", "mlp.nothing", "no module 'mlp.nothing'"),
        ("mixtral", "mlp.experts", "does not store"),
        ("bamba", "feed_forward.down_proj", "one by one"),
        ("bart", "fc2", "no single list"),
        ("gemma3n_text", "mlp.down_proj", "another model.embed_tokens_per_layer"),
    ],
)
def test_what_cannot_be_steered_is_refused_without_a_weight(
    tmp_path: Path, name: str, module: str, refused: str | None
) -> None:
    save_tiny(name, tmp_path / "model")
    if refused is None:
        refuse_unstored(steering(module), tmp_path / "model", layers=4, trust_remote_code=False)
        return
    with pytest.raises(RemovalError, match=refused):
        refuse_unstored(steering(module), tmp_path / "model", layers=4, trust_remote_code=False)


def test_a_check_names_what_changed_and_what_did_not(tiny_llama: Path) -> None:
    tensor = read_tensors(tiny_llama, [NAME])[NAME]
    found = check_edit(tiny_llama, {NAME: tensor * 2}, trust_remote_code=False)
    assert (found.changed, found.unchanged, found.copies) == (1, 38, ())
    with pytest.raises(RemovalError, match="changed no weight"):
        check_edit(tiny_llama, {NAME: tensor}, trust_remote_code=False)


def test_copies_that_an_edit_leaves_behind_are_found(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the model says that two of its weights are one."""
    other = NAME.replace("layers.1", "layers.2")
    monkeypatch.setattr(module, "names_of", lambda *_: SimpleNamespace(copies=((NAME, other),)))
    tensors = {name: tensor * 2 for name, tensor in read_tensors(tiny_llama, [NAME, other]).items()}
    with pytest.raises(IntegrityError, match="are one weight"):
        check_edit(tiny_llama, tensors, trust_remote_code=False)
    with pytest.raises(IntegrityError, match="are one weight"):
        check_edit(tiny_llama, {NAME: tensors[NAME]}, trust_remote_code=False)
    assert edited_tensors(tiny_llama, tensors) == {NAME, other}


def test_a_figure_that_is_no_number_is_a_refusal(tiny_llama: Path) -> None:
    tensor = read_tensors(tiny_llama, [NAME])[NAME]
    point = CurvePoint(step=0, topic="t", forget_loss=0.0, retain_loss=None, loss=0.0, gradient_norm=None)
    edit = Edit({NAME: torch.zeros_like(tensor)}, (point,), {"default.first_token_drift": float("nan")})
    method: Any = SimpleNamespace(edit=lambda _request: edit)
    request = RemovalRequest(
        model_path=tiny_llama, topics=(), settings=None, device="cpu", trust_remote_code=False, checkpoint=tiny_llama
    )
    with pytest.raises(RemovalError, match=r"first_token_drift' is nan"):
        make_edit(method, request)
