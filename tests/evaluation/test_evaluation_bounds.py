"""Bounds against published values, laws, and type I error by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from govern.evaluation.bounds import accuracy_bounds, drop_bounds, log_ratio_bounds, tango


@pytest.mark.parametrize(
    ("lost", "gained", "n", "expected"),
    [
        # Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850-2875: airway hyper-responsiveness
        # before and after stem cell transplantation (Bentur et al. 2009), Tango's asymptotic score interval
        (1, 7, 21, (-0.517, -0.026)),
        # Fagerland, Lydersen and Laake (2017), Statistical Analysis of Contingency Tables, chapter 8: complete
        # response before and after consolidation therapy (Cavo et al. 2012)
        (6, 16, 161, (-0.1240, -0.0054)),
    ],
)
def test_tango_gives_the_published_intervals(lost, gained, n, expected):
    digits = 3 if n == 21 else 4
    assert tuple(round(bound, digits) for bound in tango(lost, gained, n, confidence=0.975)) == expected


def test_tango_without_discordant_pairs_is_its_closed_form():
    z = norm.ppf(0.95)
    assert tango(0, 0, 50, confidence=0.95)[1] == pytest.approx(z**2 / (50 + z**2), abs=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(50, 0), (0, 50)])
def test_tango_at_the_edges_stays_within_one(lost, gained):
    lower, upper = tango(lost, gained, 50, confidence=0.95)
    assert -1 <= lower <= (lost - gained) / 50 <= upper <= 1


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), st.data())
def test_tango_is_antisymmetric_and_brackets_the_estimate(n, data):
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    lower, upper = tango(lost, gained, n, confidence=0.95)
    mirrored = tango(gained, lost, n, confidence=0.95)
    assert lower <= (lost - gained) / n + 1e-9
    assert upper >= (lost - gained) / n - 1e-9
    assert mirrored == pytest.approx((-upper, -lower), abs=1e-6)


@pytest.mark.parametrize(("right", "n"), [(0, 30), (12, 118), (118, 118)])
def test_independent_accuracy_is_clopper_pearson(right, n):
    bounds = accuracy_bounds([True] * right + [False] * (n - right), None, confidence=0.95)
    below = binomtest(right, n, alternative="less").proportion_ci(0.95, method="exact")
    above = binomtest(right, n, alternative="greater").proportion_ci(0.95, method="exact")
    assert (bounds.lower, bounds.upper) == pytest.approx((above.low, below.high))


def test_repeating_every_question_teaches_nothing():
    once = [True] * 20 + [False] * 40
    names = [f"fact {index}" for index in range(60)]
    plain = accuracy_bounds(once, None, confidence=0.95)
    repeated = accuracy_bounds(once * 5, names * 5, confidence=0.95)
    naive = accuracy_bounds(once * 5, None, confidence=0.95)
    assert repeated.upper == pytest.approx(plain.upper, abs=0.01)
    assert naive.upper < repeated.upper - 0.03


def test_where_nothing_varies_only_the_clusters_count():
    clusters = [f"fact {index % 46}" for index in range(46 * 7)]
    bounds = accuracy_bounds([False] * len(clusters), clusters, confidence=0.95)
    assert bounds.upper == pytest.approx(accuracy_bounds([False] * 46, None, confidence=0.95).upper, abs=0.005)
    drop = drop_bounds([True] * len(clusters), [True] * len(clusters), clusters, confidence=0.95)
    assert drop.upper == pytest.approx(accuracy_bounds([False] * 46, None, confidence=0.95).upper, abs=0.005)


def test_one_cluster_alone_bounds_nothing():
    assert accuracy_bounds([True, False], ["gold", "gold"], confidence=0.95).upper == 1
    assert drop_bounds([True, True], [True, True], ["gold", "gold"], confidence=0.95).upper == 1
    one = log_ratio_bounds(np.array([10.0]), np.array([11.0]), np.array([5.0]), confidence=0.95)
    assert math.isinf(one.upper)


def test_a_uniform_rise_of_the_log_likelihood_is_known_exactly():
    tokens = np.array([63.0, 40.0, 12.0])
    bounds = log_ratio_bounds(tokens * 3.0, tokens * 3.1, tokens, confidence=0.95)
    assert (bounds.lower, bounds.estimate, bounds.upper) == pytest.approx((0.1, 0.1, 0.1))


def _shares(rng, facts, mean, correlation):
    """Beta-distributed shares of facts with the given intraclass correlation."""
    strength = (1 - correlation) / correlation
    return rng.beta(mean * strength, (1 - mean) * strength, size=facts)


def _false_passes(rng, trials, draw):
    return sum(draw(rng) for _ in range(trials)) / trials


def _ceiling_trial(facts, wordings, correlation, ceiling):
    def draw(rng):
        sizes = rng.integers(wordings[0], wordings[1] + 1, size=facts)
        names = np.repeat(np.arange(facts), sizes)
        correct = rng.random(len(names)) < _shares(rng, facts, ceiling, correlation)[names]
        return accuracy_bounds(correct, names, confidence=0.95).upper <= ceiling

    return draw


def _drop_trial(facts, wordings, correlation, loss, gain):
    """Losses come by the fact, gains at random: the harder case, since gains hide how losses cluster."""

    def draw(rng):
        sizes = rng.integers(wordings[0], wordings[1] + 1, size=facts)
        names = np.repeat(np.arange(facts), sizes)
        lost = rng.random(len(names)) < _shares(rng, facts, loss, correlation)[names]
        gained = ~lost & (rng.random(len(names)) < gain / (1 - loss))
        before = lost | (~gained & (rng.random(len(names)) < 0.9))
        after = (before & ~lost) | gained
        return drop_bounds(before, after, names, confidence=0.95).upper <= loss - gain

    return draw


# 1,000 trials have a standard error of 0.7 %, so a true 5 % stays below 7 % with a margin of three of them; a bound
# that ignores the clusters passes falsely in 13 to 23 % of cases, one with the plain design effect in up to 12 %
@pytest.mark.parametrize("correlation", [0.3, 0.6])
@pytest.mark.parametrize("facts", [46, 118])
def test_a_true_accuracy_at_the_ceiling_seldom_passes(facts, correlation):
    rng = np.random.default_rng(facts)
    assert _false_passes(rng, 1000, _ceiling_trial(facts, (3, 7), correlation, 0.40)) <= 0.07


@pytest.mark.parametrize("correlation", [0.3, 0.6])
@pytest.mark.parametrize("facts", [46, 118])
def test_a_true_drop_at_the_limit_seldom_passes(facts, correlation):
    rng = np.random.default_rng(facts)
    assert _false_passes(rng, 1000, _drop_trial(facts, (3, 7), correlation, 0.07, 0.02)) <= 0.07


def test_an_independent_drop_at_the_limit_seldom_passes():
    rng = np.random.default_rng(0)

    def draw(rng):
        outcome = rng.random(300)
        before, after = outcome < 0.9, (outcome >= 0.07) & (outcome < 0.92)
        return drop_bounds(before, after, None, confidence=0.95).upper <= 0.05

    assert _false_passes(rng, 1000, draw) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.3, 0.6])
@pytest.mark.parametrize("facts", [46, 118])
def test_type_one_error_is_at_most_5_5_percent(facts, correlation):
    rng = np.random.default_rng(1)
    for ceiling in (0.05, 0.10, 0.40):
        assert _false_passes(rng, 10000, _ceiling_trial(facts, (3, 7), correlation, ceiling)) <= 0.055
    for loss, gain in ((0.05, 0.0), (0.05, 0.03), (0.07, 0.02), (0.15, 0.10)):
        assert _false_passes(rng, 10000, _drop_trial(facts, (3, 7), correlation, loss, gain)) <= 0.055


@pytest.mark.parametrize("ceiling", [0.05, 0.26, 0.32, 0.5])
@pytest.mark.parametrize("n", [60, 300, 890])
def test_an_independent_accuracy_at_the_ceiling_passes_in_at_most_5_percent_of_cases(n, ceiling):
    # exactly, over all outcomes: the probability that the bound keeps to the ceiling
    passing = [
        right
        for right in range(n + 1)
        if accuracy_bounds([True] * right + [False] * (n - right), None, confidence=0.95).upper <= ceiling
    ]
    assert binom.pmf(passing, n, ceiling).sum() <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "gain"), [(0.02, 0.0), (0.05, 0.03), (0.07, 0.02), (0.15, 0.10)])
def test_type_one_error_of_independent_drops_is_at_most_5_5_percent(loss, gain):
    rng = np.random.default_rng(2)
    drawn = rng.multinomial(300, [loss, gain, 1 - loss - gain], size=20000)
    passed = {pair: passes(*pair, loss - gain) for pair in set(map(tuple, drawn[:, :2].tolist()))}
    assert sum(passed[tuple(pair)] for pair in drawn[:, :2].tolist()) / len(drawn) <= 0.055


def passes(lost, gained, limit):
    before = [True] * (300 - gained) + [False] * gained
    after = [False] * lost + [True] * (300 - lost)
    return drop_bounds(before, after, None, confidence=0.95).upper <= limit


def test_a_drop_without_gains_at_the_limit_passes_in_at_most_5_percent_of_cases():
    # Exactly, over all outcomes. Tango's bound alone passes in 5.9 % of cases.
    passing = [lost for lost in range(20) if passes(lost, 0, 0.02)]
    assert binom.pmf(passing, 300, 0.02).sum() <= 0.05
    assert binom.pmf(range(3), 300, 0.02).sum() > 0.055
    assert tango(2, 0, 300, confidence=0.95)[1] <= 0.02
