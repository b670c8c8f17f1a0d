"""Products of bfloat16 matrices, widened."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from govern.models import load_model, products
from govern.models.products import WideningLinear, widen_products


def both(inputs, outputs, *, bias, seed):
    """A linear map in bfloat16 as torch computes it, and the same one widened."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = nn.Linear(inputs, outputs, bias=bias).to(torch.bfloat16)
        x = torch.randn(2, 5, inputs).to(torch.bfloat16)
    widened = copy.deepcopy(plain)
    widen_products(nn.Sequential(widened))
    return plain, widened, x


@settings(deadline=None)  # the first product of a process may take seconds
@given(inputs=st.integers(1, 40), outputs=st.integers(1, 40), bias=st.booleans(), seed=st.integers(0, 99))
def test_values_and_gradients_are_those_of_the_plain_product(inputs, outputs, bias, seed):
    plain, widened, x = both(inputs, outputs, bias=bias, seed=seed)
    assert type(widened) is WideningLinear
    results = []
    for module in (plain, widened):
        given = x.clone().requires_grad_()
        out = module(given)
        out.square().sum().backward()
        results.append([out, given.grad, *(parameter.grad for parameter in module.parameters())])
    for theirs, ours in zip(*([each.detach() for each in found] for found in results), strict=True):
        assert ours.dtype == theirs.dtype == torch.bfloat16
        assert ours.shape == theirs.shape
        # One unit in the last place of bfloat16, relative to the longest term that was added up.
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=2e-2, atol=2e-2 * float(theirs.abs().max()))


def test_what_needs_no_gradient_gets_none():
    _, widened, x = both(6, 4, bias=True, seed=0)
    widened.requires_grad_(False)
    x.requires_grad_()
    widened(x).sum().backward()
    assert x.grad is not None
    assert widened.weight.grad is None


@pytest.mark.parametrize(("lacks", "dtype", "kind"), [
    (True, torch.bfloat16, WideningLinear),
    (False, torch.bfloat16, nn.Linear),
    (True, torch.float32, nn.Linear),
])  # fmt: skip
def test_a_model_is_widened_only_where_that_helps(tiny_llama, monkeypatch, lacks, dtype, kind):
    monkeypatch.setattr(products, "lacks_bfloat16", lambda: lacks)
    model = load_model(tiny_llama, dtype=dtype)
    assert {type(module) for module in model.modules() if isinstance(module, nn.Linear)} == {kind}


def test_a_widened_model_says_what_the_plain_one_says(tiny_llama, monkeypatch):
    ids = torch.arange(3, 23)[None]
    logits = []
    for lacks in (True, False):
        monkeypatch.setattr(products, "lacks_bfloat16", lambda lacks=lacks: lacks)
        with torch.no_grad():
            logits.append(load_model(tiny_llama, dtype=torch.bfloat16)(ids).logits.float())
    torch.testing.assert_close(*logits, rtol=0, atol=0.05 * float(logits[1].abs().max()))
