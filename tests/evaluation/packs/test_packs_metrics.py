"""The measures that benchmarks share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.evaluation.packs.metrics import harmonic_mean, mean_interval, resampled, rouge_l

WORDS = st.lists(st.sampled_from(["red", "green", "blue", "grey", "pink"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("reference", "said", "recall"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", 1),
        ("the cat sat on the mat", "the cat lay on the mat", 5 / 6),
        ("a b c d", "d c b a", 1 / 4),  # the order counts
        ("a b", "x a x b x", 1),  # what lies between does not
        ("She writes novels.", "she WROTE a novel", 2 / 3),  # case and points aside; novels and novel have one stem
        ("one two", "", 0),
    ],
)
def test_rouge_l_recall_by_hand(reference, said, recall):
    assert rouge_l(reference, said, stem=True).recall == pytest.approx(recall)


def test_f1_weighs_what_was_said_too_and_stems_only_where_asked():
    assert rouge_l("a b", "a b c d", stem=False) == pytest.approx((1, 2 * 1 * 0.5 / 1.5))
    assert rouge_l("she writes", "she writing", stem=False).recall == 0.5
    assert rouge_l("she writes", "she writing", stem=True).recall == 1


@given(WORDS, WORDS)
def test_rouge_l_recall_is_a_longest_common_subsequence(reference, said):
    table = np.zeros((len(reference) + 1, len(said) + 1), dtype=int)
    for i, a in enumerate(reference):
        for j, b in enumerate(said):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    assert rouge_l(" ".join(reference), " ".join(said), stem=False).recall == pytest.approx(
        table[-1, -1] / len(reference)
    )


def test_the_harmonic_mean_by_hand():
    assert harmonic_mean([1, 1 / 2, 1 / 4]) == pytest.approx(3 / 7)
    assert harmonic_mean([0.9, 0.0, 0.8]) == 0


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.floats(0.1, 10))
def test_the_harmonic_mean_lies_between_the_least_and_the_mean_and_scales(values, factor):
    found = harmonic_mean(values)
    assert min(values) * (1 - 1e-9) <= found <= sum(values) / len(values) * (1 + 1e-9)
    assert harmonic_mean([factor * value for value in values]) == pytest.approx(factor * found)
    assert harmonic_mean(values[::-1]) == pytest.approx(found)


def test_intervals_hold_the_mean_shrink_with_more_questions_and_are_the_same_twice():
    random = np.random.default_rng(3)
    few, many = random.random(40).tolist(), random.random(4000).tolist()
    narrow, wide = (mean_interval(values, confidence=0.95) for values in (many, few))
    assert wide.low < np.mean(few) < wide.high
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * np.std(few) / 40**0.5, rel=0.1)
    assert narrow.high - narrow.low < 0.2 * (wide.high - wide.low)
    assert mean_interval(few, confidence=0.95) == wide
    constant = resampled(lambda sets: float(sets[0].mean() - sets[1].mean()), [[0.5] * 5, [0.25] * 9], confidence=0.9)
    assert (constant.low, constant.high) == (0.25, 0.25)
