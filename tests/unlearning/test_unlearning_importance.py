from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from govern.unlearning.importance import Average, importance_map, normalise

MAPS = ("ratio", "difference", "product", "uniform")

activations = st.lists(st.floats(0, 1e3), min_size=2, max_size=16)


def vectors(forget, retain):
    size = min(len(forget), len(retain))
    return (torch.tensor(values[:size], dtype=torch.float64) for values in (forget, retain))


@given(activations, activations)
def test_every_map_is_finite_and_normalises_into_the_unit_interval(forget, retain):
    v_f, v_r = vectors(forget, retain)
    for kind in MAPS:
        importance = normalise(importance_map(kind, v_f, v_r))
        assert importance.isfinite().all()
        assert (importance >= 0).all()
        assert (importance <= 1).all()


@given(activations, activations, st.integers(0, 15))
def test_a_feature_that_speaks_louder_on_forget_text_is_never_less_important(forget, retain, place):
    v_f, v_r = vectors(forget, retain)
    louder = v_f.clone()
    louder[place % len(v_f)] += 1
    for kind in ("ratio", "difference"):
        before, after = importance_map(kind, v_f, v_r), importance_map(kind, louder, v_r)
        assert after[place % len(v_f)] >= before[place % len(v_f)]


def test_the_maps_have_the_papers_values():
    v_f, v_r = (torch.tensor(values, dtype=torch.float64) for values in ([2.0, 1.0, 0.0], [1.0, 2.0, 4.0]))
    expected = {
        "ratio": [math.log(1 + 2 / 1.000001), math.log(1 + 1 / 2.000001), 0],
        "difference": [1, 0, 0],
        "product": [2 / (7 / 3 + 1e-6), 2 / (7 / 3 + 1e-6), 0],
        "uniform": [1, 1, 1],
    }
    for kind, values in expected.items():
        torch.testing.assert_close(
            importance_map(kind, v_f, v_r), torch.tensor(values, dtype=torch.float64), rtol=1e-12, atol=0
        )
    weighted = importance_map("difference", v_f, v_r, difference_weight=0.25)
    assert weighted.tolist() == [1.75, 0.5, 0]


def test_the_product_map_treats_both_sides_alike():
    v_f, v_r = vectors([2, 1, 0], [1, 2, 4])
    assert torch.equal(importance_map("product", v_f, v_r), importance_map("product", v_r, v_f))


def test_where_nothing_differs_the_difference_map_is_zero_not_undefined():
    same = torch.ones(3, dtype=torch.float64)
    assert normalise(importance_map("difference", same, same)).tolist() == [0, 0, 0]


def test_averages_run_over_counted_tokens_of_all_batches():
    hidden = torch.tensor([[[3.0, -4.0], [1.0, 1.0]], [[100.0, 100.0], [-1.0, 3.0]]])
    counted = torch.tensor([[True, True], [False, True]])
    average = Average("mean_abs")
    for row in (0, 1):
        average.add(hidden[row][counted[row]])
    assert average.tokens == 3
    assert average.features.tolist() == pytest.approx([5 / 3, 8 / 3])
    assert average.norm == pytest.approx((5 + math.sqrt(2) + math.sqrt(10)) / 3)
    squares = Average("rms")
    squares.add(hidden[counted])
    assert squares.features.tolist() == pytest.approx([math.sqrt(11 / 3), math.sqrt(26 / 3)])


def test_a_signed_mean_would_vanish_where_the_absolute_one_does_not():
    average = Average("mean_abs")
    average.add(torch.tensor([[1.0], [-1.0]]))
    assert average.features.tolist() == [1.0]
