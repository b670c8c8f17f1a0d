"""Where a rise in perplexity passes or fails to the last digit, which confidence judges what, and in which words."""

import math

import pytest

from govern.errors import UsageError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.results import result
from govern.gates.max_increase import KIND


def reading(factor, documents=60):
    tokens = [40 + index % 24 for index in range(documents)]
    return Perplexity(
        task="self:",
        ids=tuple(f"{index:016x}" for index in range(documents)),
        nll=tuple(count * (3.0 + 0.3 * math.sin(index) + factor(index)) for index, count in enumerate(tokens)),
        tokens=tuple(tokens),
    )


BEFORE = reading(lambda _: 0.0)
AFTER = reading(lambda index: 0.018 + 0.05 * math.cos(3 * index))


def judged(threshold, **changes):
    return KIND.judge(BEFORE, AFTER, threshold=threshold, **{"confidence": 0.95, **changes})


def test_the_bound_itself_still_passes_and_still_does_not_fail():
    upper, lower = judged(1.0).bound, judged(0.0, failing=0.8).bound
    assert judged(upper).verdict == "pass"
    assert judged(math.nextafter(upper, 0)).verdict == "inconclusive"
    assert judged(lower, failing=0.8).verdict == "inconclusive"
    assert judged(math.nextafter(lower, 0), failing=0.8).verdict == "fail"


def test_a_failure_shows_the_lower_bound_and_anything_else_the_upper():
    estimate = result(BEFORE, AFTER, confidence=0.95, part="all")
    rise = estimate.after / estimate.before - 1
    assert judged(0.0).verdict == "fail"
    assert 0 < judged(0.0).bound < rise < judged(1.0).bound
    assert judged(rise).verdict == "inconclusive"
    assert judged(rise).bound == judged(1.0).bound


def test_failing_may_take_more_confidence_than_passing():
    sure = judged(0.005).bound
    assert judged(0.005).verdict == "fail"
    assert judged(0.005, failing=1 - 1e-9).verdict == "inconclusive"
    assert judged(1.0, failing=1 - 1e-9).bound == judged(1.0).bound
    assert judged(-0.5, failing=0.999).bound < sure
    assert "with 99.9 % confidence" in judged(-0.5, failing=0.999).reason


def test_the_reason_tells_what_was_read_and_what_would_decide():
    told = judged(0.02)
    assert told.reason.split(";")[0].endswith(
        f"from {told.before:.2f} to {told.after:.2f} over 60 documents, a change of +1.9 %"
    )
    assert "documents" in told.reason.split(";")[1]


def test_answers_on_one_side_and_a_perplexity_on_the_other_are_refused():
    answers = Answers(
        task="symbols", metric="acc", kind="cloze", ids=("0" * 16,), clusters=None, parts=("certification",),
        correct=(True,), chosen=(0,), choices=(4,),
    )  # fmt: skip
    for before, after in ((answers, AFTER), (BEFORE, answers)):
        with pytest.raises(UsageError, match="has answers on one side and a perplexity on the other"):
            result(before, after, confidence=0.95, part="all")
