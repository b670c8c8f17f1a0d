"""The bounds on a ratio of perplexities, by hand: Student's t has closed quantiles for one and two degrees."""

import math

import numpy as np
import pytest

from govern.evaluation.bounds import log_ratio_bounds

# Two documents of 10 and 30 tokens, which cost 1 and 4 nats more: 5/40 a token. The residuals are -1/4 and 1/4, so the
# standard error is sqrt(2/1 * 1/8)/40.
BEFORE, AFTER, TOKENS = np.array([10.0, 20.0]), np.array([11.0, 24.0]), np.array([10.0, 30.0])
ESTIMATE, ERROR = 0.125, 0.0125


def reach(confidence, **times):
    found = log_ratio_bounds(BEFORE, AFTER, TOKENS, confidence=confidence, **times)
    assert found.estimate == pytest.approx(ESTIMATE)
    assert found.upper - ESTIMATE == pytest.approx(ESTIMATE - found.lower)
    return found.upper - ESTIMATE


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_two_documents_have_one_degree_of_freedom(confidence):
    assert reach(confidence) == pytest.approx(math.tan(math.pi * (confidence - 0.5)) * ERROR)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_more_documents_like_these_narrow_the_bounds_and_add_degrees_of_freedom(confidence):
    two = (2 * confidence - 1) * math.sqrt(2 / (4 * confidence * (1 - confidence)))
    assert reach(confidence, times=1.5) == pytest.approx(two * ERROR / math.sqrt(1.5))


def test_one_document_bounds_nothing():
    found = log_ratio_bounds(BEFORE[:1], AFTER[:1], TOKENS[:1], confidence=0.95)
    assert (found.lower, found.upper) == (-math.inf, math.inf)
