from __future__ import annotations

import pytest
import torch

from govern.errors import RemovalError
from govern.models import load_model, read_tensors
from govern.unlearning.parameters import TrainedParameters
from govern.unlearning.settings import Trained


def select(path, *, dtype=torch.float32, modules=("mlp.down_proj",), layers=(1, 2)):
    model = load_model(path, dtype=dtype, layers=3)
    return model, TrainedParameters.select(model, Trained(modules=modules, layers=layers), path)


def test_only_what_is_named_has_gradients(tiny):
    model, trained = select(tiny("qwen2"))
    wanted = {f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2)}
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == wanted
    assert set(trained.tensors()) == wanted


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
def test_untouched_parameters_come_back_as_the_checkpoint_stores_them(tiny, stored, computed):
    path = tiny("llama", stored)
    _, trained = select(path, dtype=computed)
    for name, tensor in trained.tensors().items():
        before = read_tensors(path, [name])[name]
        assert tensor.dtype == before.dtype == stored
        if computed is torch.float32 or stored is torch.bfloat16:
            assert torch.equal(tensor, before)


def test_writing_rounds_the_masters_into_the_model_and_leaves_the_originals(tiny):
    _, trained = select(tiny("llama"), dtype=torch.bfloat16)
    name = "1.mlp.down_proj.weight"
    original = trained.base[name].clone()
    trained.masters[name].add_(0.3)
    trained.write()
    assert torch.equal(trained.live[name], trained.masters[name].to(torch.bfloat16))
    assert torch.equal(trained.base[name], original)
    assert not torch.equal(trained.live[name], original)


def test_the_original_weights_are_named_as_a_window_counts_its_blocks(tiny):
    _, trained = select(tiny("llama"))
    assert set(trained.within(1)) == {"0.mlp.down_proj.weight", "1.mlp.down_proj.weight"}


def test_the_digest_says_which_weights_are_edited(tiny):
    digests = {
        select(tiny(architecture), layers=layers)[1].digest()
        for architecture, layers in (("llama", (1, 2)), ("llama", (1,)), ("gemma2", (1, 2)))
    }
    assert len(digests) == 3
    assert select(tiny("llama"))[1].digest() in digests


def test_a_fused_expert_tensor_has_no_counterpart_in_the_checkpoint(tiny):
    with pytest.raises(RemovalError, match="does not store"):
        select(tiny("mixtral"), modules=("mlp.experts",))


def test_a_module_that_is_not_there_is_named(tiny):
    with pytest.raises(RemovalError, match=r"block 1 has no module 'mlp.fc2'"):
        select(tiny("llama"), modules=("mlp.fc2",))
