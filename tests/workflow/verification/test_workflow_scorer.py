"""Every verification recomputes some likelihoods by a plain forward, and stops where the scorer gave others."""

from __future__ import annotations

import pytest
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.errors import IntegrityError
from govern.evaluation import scoring
from govern.evaluation.recount import TEXTS


def test_a_verification_says_how_close_the_scorer_is(tiny_policy: TinyPolicy):
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    first = govern.verify(workspace=tiny_policy.workspace)
    found = first.verdict.scorer
    assert found.n >= TEXTS
    assert 0 <= max(found.base, found.edited) < found.allowed == 2e-3
    assert "Likelihoods of each model recomputed by a plain forward" in first.issued.path.read_text()
    again = govern.verify(workspace=tiny_policy.workspace).verdict
    assert again.scorer.base < again.scorer.allowed


@pytest.mark.parametrize("remembered", [False, True])
def test_a_scorer_that_is_not_the_model_stops_the_run(tiny_policy: TinyPolicy, monkeypatch, remembered):
    workspace = tiny_policy.workspace
    govern.apply(tiny_policy.path, workspace=workspace)
    if remembered:
        govern.verify(workspace=workspace)
    joined = scoring._joined
    monkeypatch.setattr(scoring, "_joined", lambda scores: (joined(scores)[0] * 1.01, False))
    with pytest.raises(IntegrityError, match="the scorer does not say what the model says") as raised:
        govern.verify(workspace=workspace)
    assert raised.value.exit_code == 4
    with Log.open(workspace / "audit.db", create=False) as log:
        assert [stored.event.type for stored in log.events()][-1] == "verify.failed"
