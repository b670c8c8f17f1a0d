"""A base model that is not finite is named as what it is, and an edit that does not fit its dtype is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_removal import CLOSED, request, run
from tiny_whole_model import asked

from govern.errors import IntegrityError, RemovalError

WAYS = {
    "srmu": request,
    "srmu, closed form": lambda path: request(path, CLOSED),
    "npo": lambda path: asked(path, "npo"),
    "ssd": lambda path: asked(path, "ssd"),
    "depn": lambda path: asked(path, "depn"),
}
UP = "model.layers.{}.mlp.up_proj"


@pytest.fixture
def changed(tiny, tmp_path):
    """A copy of the tiny Llama whose up_proj of a block is multiplied by a number in one place, or everywhere."""

    def make(layer: int, factor: float, *, everywhere: bool = False) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny("llama"), folder)
        tensors = load_file(folder / "model.safetensors")
        weight = tensors[f"{UP.format(layer)}.weight"]
        weight[slice(None) if everywhere else (3, 4)] *= factor
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(changed, way, value):
    path = changed(0, value)
    with pytest.raises(IntegrityError, match=re.escape(f"{UP.format(0)}.weight holds values that are not")) as caught:
        run(WAYS[way](path))
    assert caught.value.where == str(path)


@pytest.mark.parametrize("way", WAYS)
def test_a_block_whose_activations_overflow_is_named(changed, way):
    path = changed(1, 3e38, everywhere=True)
    with pytest.raises(RemovalError, match=r"what the base model computes at 'model\.layers\.1\.mlp") as caught:
        run(WAYS[way](path))
    assert caught.value.where == "model.source"


@pytest.mark.parametrize("settings", [CLOSED, None])
def test_an_edit_that_overflows_the_checkpoints_half_precision_names_its_tensor(tiny, settings):
    far = {"coefficient": 1e7} if settings else {"learning_rate": 1e5, "steps": 1}
    path = tiny("llama", torch.float16)
    asked_for = request(path, CLOSED, **far) if settings else asked(path, "ga", train={"layers": [2]}, **far)
    with pytest.raises(RemovalError, match=r"edited 'model\.layers\.\d\.mlp\.down_proj\.weight' overflows float16"):
        run(asked_for)
