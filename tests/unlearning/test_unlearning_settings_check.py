from __future__ import annotations

import re

import pytest
from tiny_decoders import LAYERS

from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.registry import METHODS
from govern.unlearning.settings_check import check_steering
from govern.unlearning.srmu import SrmuSettings


def settings(*, layer=2, layers=(1, 2), modules=("mlp.down_proj",)):
    return SrmuSettings.model_validate(
        {
            "method": "srmu",
            "layer": layer,
            "train": {"modules": modules, "layers": layers},
            "coefficient": 10.0,
            "retain_weight": 1.0,
            "learning_rate": 1e-3,
        }
    )


def check(tiny, chosen, architecture="llama"):
    return check_steering(chosen, LAYERS, stored_tensors(tiny(architecture)))


def test_settings_that_fit_the_model_are_not_refused(tiny):
    assert check(tiny, settings()) == ()
    assert check(tiny, settings(modules=("mlp.dense_4h_to_h",)), "gpt_neox") == ()
    assert check(tiny, settings(modules=("self_attn.o_proj", "mlp"))) == ()


@pytest.mark.parametrize(
    ("chosen", "location", "words"),
    [
        ({"layer": 4}, ("layer",), "out of range: the model has 0 to 3"),
        ({"layer": 9, "layers": (1, 4)}, ("train", "layers", 1), "out of range"),
        ({"layers": (1, 3)}, ("train", "layers", 1), "lies above layer 2"),
        ({"layers": (2, 1, 2)}, ("train", "layers", 2), "named twice"),
        ({"modules": ("mlp.down_proj", "mlp.fc2")}, ("train", "modules", 1), "it has: .*mlp.down_proj"),
        ({"modules": ("down_proj",)}, ("train", "modules", 0), "no module 'down_proj'"),
        ({"modules": ("lp.down_proj",)}, ("train", "modules", 0), "no module"),
    ],
)
def test_each_refusal_names_its_place(tiny, chosen, location, words):
    refusals = {refusal.location: refusal.message for refusal in check(tiny, settings(**chosen))}
    assert location in refusals
    assert re.search(words, refusals[location])


@pytest.mark.parametrize("module", ["mlp.down_proj", "mlp.experts.0.down_proj", "block_sparse_moe", "down_proj", "mlp"])
@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe"])
def test_experts_have_no_single_down_projection(tiny, architecture, module):
    """Neither all of them nor one: the model holds them as one fused tensor, which the checkpoint does not."""
    (refusal,) = check(tiny, settings(modules=(module,)), architecture)
    assert refusal.location == ("train", "modules", 0)
    assert f"block 1 is a mixture of experts, so '{module}' is no single module of it" in refusal.message
    assert "self_attn.o_proj" in refusal.message
    assert ".experts." not in refusal.message.partition("once: ")[2]
    assert check(tiny, settings(modules=("self_attn.o_proj",)), architecture) == ()


def test_the_registry_checks_a_model_folder(tiny):
    assert METHODS["srmu"].refusals(settings(), tiny("llama"), LAYERS) == ()
    ((location, message),) = METHODS["srmu"].refusals(settings(layer=7), tiny("llama"), LAYERS)
    assert location == ("layer",)
    assert "7" in message
