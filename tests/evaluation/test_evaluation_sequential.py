"""Looks that stop early: a partition that the seed fixes, nothing lost on the way, an error that keeps its limit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.evaluation.answers import Answers
from govern.evaluation.bounds import accuracy_bounds
from govern.evaluation.sequential import LOOKS, SHARES, asked_at, failing, joined
from govern.gates.ceiling import KIND

ceiling = KIND.judge


def answers(n, *, clusters=None, parts=None, correct=None):
    return Answers(
        task="symbols",
        metric="acc",
        kind="cloze",
        ids=tuple(f"q{index}" for index in range(n)),
        clusters=clusters,
        parts=parts or ("certification",) * n,
        correct=correct or tuple(index % 3 == 0 for index in range(n)),
        chosen=tuple(index % 4 for index in range(n)),
        choices=(4,) * n,
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 120), st.booleans(), st.integers(0, 3))
def test_looks_share_out_all_questions_and_joining_them_gives_all_answers(n, clustered, seed):
    clusters = tuple(f"fact {index // 3}" for index in range(n)) if clustered else None
    parts = tuple("selection" if index % 5 == 0 else "certification" for index in range(n))
    whole = answers(n, clusters=clusters, parts=parts)
    looks = asked_at(whole, seed=str(seed))
    assert len(looks) == LOOKS
    assert sorted(name for ids in looks for name in ids) == sorted(whole.ids)
    assert joined(whole, [whole.only(ids) for ids in looks], looks) == whole
    # before the last look, only what certifies, and facts whole
    early = set().union(*looks[:-1])
    assert all(part == "certification" for name, part in zip(whole.ids, parts, strict=True) if name in early)
    if clusters:
        for ids in looks[:-1]:
            facts = {fact for name, fact in zip(whole.ids, clusters, strict=True) if name in ids}
            rows = zip(whole.ids, clusters, parts, strict=True)
            assert {name for name, fact, part in rows if fact in facts and part == "certification"} == ids


def test_the_order_is_random_and_the_seed_fixes_it():
    whole = answers(200)
    first, again, other = (asked_at(whole, seed=seed)[0] for seed in ("a", "a", "b"))
    assert first == again != other
    assert len(first) == 13
    assert first != frozenset(whole.ids[:13])


def test_questions_that_are_asked_twice_stay_together():
    twice = answers(40).model_copy(update={"ids": tuple(f"q{index % 20}" for index in range(40))})
    looks = asked_at(twice, seed="a")
    assert joined(twice, [twice.only(ids) for ids in looks], looks) == twice


def test_all_looks_together_spend_the_error_that_the_policy_allows():
    spent = [1 - failing(look, confidence=0.95) for look in range(1, LOOKS + 1)]
    assert sum(spent) == pytest.approx(0.05)
    assert spent[-1] == pytest.approx(0.025)
    assert len(set(spent[:-1])) == 1


def test_only_the_bound_that_fails_changes():
    before, after = answers(60, correct=(True,) * 60), answers(60)
    usual = ceiling(before, after, threshold=0.9, confidence=0.95)
    looking = ceiling(before, after, threshold=0.9, confidence=0.95, failing=failing(5, confidence=0.95))
    assert usual == looking
    # 20 of 60 is 33 %: its lower bound is 23.3 % at 95 % confidence, 21.7 % at 97.5 %
    tight = {"threshold": 0.225, "confidence": 0.95}
    assert ceiling(before, after, **tight).verdict == "fail"
    assert ceiling(before, after, **tight, failing=0.975).verdict == "inconclusive"
    assert "97.5 % confidence" in ceiling(before, after, **(tight | {"threshold": 0.2}), failing=0.975).reason


def fails_at_some_look(correct, clusters, limit, order):
    """The same looks as `asked_at`, over an order that is drawn already."""
    units = len(order)
    for look, share in enumerate((*SHARES, 1.0), start=1):
        chosen = np.isin(clusters, order[: int(np.ceil(share * units))])
        found = accuracy_bounds(
            correct[chosen], clusters[chosen] if len(clusters) > units else None,
            confidence=failing(look, confidence=0.95),
        )  # fmt: skip
        if found.lower > limit:
            return look
    return None


def trial(rng, facts, wordings, correlation, accuracy, limit):
    if correlation:
        strength = (1 - correlation) / correlation
        shares = rng.beta(accuracy * strength, (1 - accuracy) * strength, size=facts)
    else:
        shares = np.full(facts, accuracy)
    clusters = np.repeat(np.arange(facts), wordings)
    correct = rng.random(len(clusters)) < shares[clusters]
    return fails_at_some_look(correct, clusters, limit, rng.permutation(facts))


@pytest.mark.parametrize(("facts", "wordings", "correlation"), [(300, 1, 0.0), (120, 5, 0.3), (120, 5, 0.6)])
def test_a_removal_at_the_ceiling_is_seldom_failed(facts, wordings, correlation):
    # 400 trials at a true 5 % exceed 8.3 % with a probability below 0.2 %
    rng = np.random.default_rng(7)
    failed = sum(trial(rng, facts, wordings, correlation, 0.35, 0.35) is not None for _ in range(400))
    assert failed / 400 <= 0.083


@pytest.mark.slow
@pytest.mark.parametrize(("facts", "wordings", "correlation"), [(300, 1, 0.0), (120, 5, 0.3), (120, 5, 0.6)])
@pytest.mark.parametrize("limit", [0.1, 0.35])
def test_type_one_error_of_all_looks_together_is_at_most_5_5_percent(facts, wordings, correlation, limit):
    rng = np.random.default_rng(8)
    failed = sum(trial(rng, facts, wordings, correlation, limit, limit) is not None for _ in range(10000))
    assert failed / 10000 <= 0.055


def test_a_removal_that_did_nothing_is_found_out_early():
    rng = np.random.default_rng(9)
    looks = [trial(rng, 890, 1, 0.0, 0.647, 0.32) for _ in range(20)]
    assert max(looks) <= 2  # at most an eighth of wmdp_bio's certifying questions
