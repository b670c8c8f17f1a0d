"""Every attack either works on an architecture, and says what it reached, or is refused before anything starts."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from other_shapes import SETTINGS, make
from torch import nn
from under_attack import silent, target_of

from govern.errors import RemovalError
from govern.stress.ablation import direction_of_delta
from govern.stress.attack import Conditions
from govern.stress.logit_lens import LogitLens, read_layers
from govern.stress.pruning import Pruning
from govern.stress.quantisation import Quantisation, _with_torchao
from govern.stress.relearning import Relearning
from govern.stress.weights import LEAST_COVERAGE, Tampering, coverage, matrices, shortfall

QUANTISE = Quantisation(attack="quantise", bits=4, max_recovery=0.5)
PRUNE = Pruning(attack="prune", sparsity=0.5, max_recovery=0.5)
WANDA = Pruning(attack="prune", sparsity=0.5, criterion="wanda", max_recovery=0.5)
ADAPTER = Relearning(
    attack="relearn", text="unrelated", documents=4, epochs=2, lora_rank=4, learning_rate=1e-2, max_recovery=0.5
)
EXPERTS = ("mixtral", "qwen3_moe", "gpt_oss", "jamba")


@pytest.fixture(scope="session", params=SETTINGS)
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def model(kind, tokenizer):
    return make(kind, len(tokenizer))


def conditions(model, tokenizer):
    return Conditions(tokenizer, 64, lambda: model)


def in_blocks(model):
    """The matrices by their shapes alone, to count what an attack changed."""
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if sum(length > 1 for length in parameter.shape) > 1
        and any(f".{blocks}." in name for blocks in ("layers", "h"))
        and not name.endswith("bias")
    }


@pytest.mark.parametrize("attack", [QUANTISE, PRUNE, WANDA, ADAPTER], ids=["quantise", "prune", "wanda", "adapter"])
def test_the_coverage_is_what_was_changed_and_too_little_is_refused_by_plan(model, exam, tokenizer, attack: Tampering):
    refused = [refusal.setting for refusal in attack.refusals(conditions(model, tokenizer))]
    if "lora_rank" in refused:
        assert model.config.model_type == "mamba"  # peft knows no adapter for it
        return
    attacked = copy.deepcopy(model)
    attempt = attack.attempt(replace(target_of(model, tokenizer), load=lambda: attacked), exam.first(8), silent)
    before, after = in_blocks(model), in_blocks(attacked)
    changed = sum(value.numel() for name, value in before.items() if not torch.equal(value, after[name]))
    share = changed / sum(value.numel() for value in before.values())
    assert attempt.found["coverage"] == pytest.approx(share, abs=1e-4)
    assert refused == (["max_recovery"] if share < LEAST_COVERAGE else [])
    assert bool(refused) == ("coverage" in attempt.doubt)
    unlimited = attack.model_copy(update={"max_recovery": None})
    assert not list(unlimited.refusals(conditions(model, tokenizer)))


def test_experts_and_maps_that_are_stored_the_other_way_round_are_reached(tokenizer):
    for kind in ("gpt2", *EXPERTS):
        found = matrices(make(kind, len(tokenizer)))
        assert coverage(found, [name for name, each in found.items() if QUANTISE.reaches(each)]) >= LEAST_COVERAGE
    for kind in EXPERTS:
        found = matrices(make(kind, len(tokenizer)))
        assert shortfall(coverage(found, [name for name, each in found.items() if each.is_map]))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["gpt2", "mixtral", "gpt_oss"])
def test_a_map_is_rounded_as_a_linear_map_of_the_same_numbers_is(exam, tokenizer, kind, bits):
    model = make(kind, len(tokenizer))
    attack = Quantisation(attack="quantise", bits=bits)
    attacked = copy.deepcopy(model)
    attack.attempt(replace(target_of(model, tokenizer), load=lambda: attacked), exam.first(8), silent)
    name = {"gpt2": "transformer.h.0.mlp.c_fc.weight"}.get(kind, "model.layers.1.mlp.experts.down_proj")
    stored, rounded = model.get_parameter(name).detach(), attacked.get_parameter(name).detach()
    flipped = kind in ("gpt2", "gpt_oss")  # [inputs, outputs], where a linear map is [outputs, inputs]
    for weight, found in [(stored, rounded)] if stored.dim() == 2 else zip(stored, rounded, strict=True):
        upright, expected = (each.T.contiguous() if flipped else each for each in (weight, found))
        linear = nn.Linear(upright.shape[1], upright.shape[0], bias=False)
        linear.weight = nn.Parameter(upright.clone(), requires_grad=False)
        assert torch.equal(_with_torchao(linear, attack), expected)


def test_nearest_is_the_nearest_step_of_each_group():
    """Sixteen steps, the scale by the largest weight of 32."""
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    linear = nn.Linear(64, 8, bias=False)
    linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
    groups = weight.view(8, 2, 32)
    step = groups.abs().amax(dim=2, keepdim=True) / 7.5
    found = _with_torchao(linear, QUANTISE).view(8, 2, 32)
    steps = found / step
    torch.testing.assert_close(steps, steps.round())
    assert ((found - groups).abs() <= step / 2 * (1 + 1e-5)).all()


def test_the_lens_behind_the_last_block_is_the_model_itself(model, exam, tokenizer):
    layers = read_layers(model, tokenizer, exam.kind, exam.asked, silent)
    assert len(layers) == 2
    assert tuple(layers[-1]) == exam.ask(model, tokenizer).chosen
    assert not list(LogitLens(attack="logit_lens").refusals(conditions(model, tokenizer)))


def test_the_lens_leaves_the_model_as_it_was(model, exam, tokenizer):
    ids = torch.tensor([tokenizer.encode("The colour of house A is")])
    before = model(ids).logits
    read_layers(model, tokenizer, exam.kind, exam.asked, silent)
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("kind", ["gpt2", "mixtral", "gpt_oss", "phi"])
def test_the_direction_of_a_delta_is_found_however_a_map_is_stored(tokenizer, kind):
    base = make(kind, len(tokenizer))
    name = {
        "gpt2": "transformer.h.1.mlp.c_proj.weight",
        "phi": "model.layers.1.mlp.fc2.weight",
    }.get(kind, "model.layers.1.mlp.experts.down_proj")
    weight = base.get_parameter(name).detach()
    away = torch.randn(32, generator=torch.Generator().manual_seed(1))
    outputs = {"gpt2": 1, "phi": 0, "mixtral": 1, "gpt_oss": 2}[kind]
    shape = [1] * weight.dim()
    shape[outputs] = 32
    found = direction_of_delta(base, {name: weight + away.view(shape)})
    assert abs(float(found @ away / away.norm())) == pytest.approx(1, abs=1e-4)


def test_a_model_without_a_list_of_blocks_is_refused(tokenizer, monkeypatch):
    def none(_model):
        raise RemovalError("X has no single list of decoder blocks")

    monkeypatch.setattr("govern.unlearning.activations.find_blocks", none)
    for attack in (QUANTISE, ADAPTER, LogitLens(attack="logit_lens")):
        (refusal,) = attack.refusals(conditions(None, tokenizer))
        assert refusal.setting == "attack"
        assert "no single list of decoder blocks" in refusal.message


def test_an_attack_whose_control_learnt_nothing_says_so(knowing, exam, tokenizer):
    still = ADAPTER.model_copy(update={"learning_rate": 1e-12})
    attempt = still.attempt(target_of(knowing, tokenizer), exam, silent)
    assert attempt.found["loss_after"] == pytest.approx(attempt.found["loss_before"], rel=1e-3)
    assert attempt.doubt.startswith("the loss on its own text did not fall")
