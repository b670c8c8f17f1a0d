"""`govern verify --fail-fast`: stops where a gate has failed, decides nothing else; otherwise says what it would."""

import json
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy, questions, write_jsonl
from typer.testing import CliRunner

import govern
from govern.cli import app
from govern.workflow.publication.exports import gate_places, reported
from govern.workflow.verification.verify import verify


@pytest.fixture
def long_policy(tiny_policy: TinyPolicy) -> TinyPolicy:
    """The tiny policy with 400 questions on either side."""
    folder = tiny_policy.path.parent
    write_jsonl(folder / "secret.jsonl", questions("secret", 400))
    write_jsonl(folder / "colour.jsonl", questions("colour", 400))
    return tiny_policy


def test_it_stops_where_a_gate_has_failed_and_decides_nothing_else(long_policy: TinyPolicy, tmp_path: Path):
    # A model that guesses is right for a quarter of the questions.
    long_policy.replace("ceiling: 0.9", "ceiling: 0.01").replace("max_drop: 0.5}", "max_drop: 0.9}")
    attacks = "[{attack: format, form: letters, max_recovery: 0.5}, {attack: logit_lens}]"
    long_policy.replace("verification:\n", f"verification:\n  stress: {attacks}\n")
    govern.apply(long_policy.path, workspace=long_policy.workspace)
    sarif = tmp_path / "gates.sarif"
    done = CliRunner().invoke(
        app,
        ["verify", "--fail-fast", "--workspace", str(long_policy.workspace), "--json", "--sarif", str(sarif)],
    )
    assert done.exit_code == 3, done.output
    verdict = json.loads(done.stdout)
    test = verdict["sequential"]
    assert test["stopped"]
    assert 0 < test["asked"] < test["questions"] == 800
    assert test["unjudged"] == ["self:", "secret/recovery/format: letters"]
    secret, colour = verdict["gates"]
    assert (secret["verdict"], colour["verdict"]) == ("fail", "inconclusive")
    assert colour["reason"].startswith("Asking stopped early")
    assert secret["n"] + colour["n"] == test["asked"]
    assert verdict["verdict"] == "fail"
    assert len(json.loads(sarif.read_text())["runs"][0]["results"]) == 2
    found = reported(verdict["run"], workspace=long_policy.workspace)
    assert [place.line for place in gate_places(found.policy, found.document.verdict)] == sorted(
        place.line for place in gate_places(found.policy, found.document.verdict)
    )


@pytest.mark.slow
def test_where_nothing_fails_it_says_what_it_would_have_said(tiny_policy: TinyPolicy):
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    plain = verify(workspace=tiny_policy.workspace).verdict
    looked = verify(workspace=tiny_policy.workspace, fail_fast=True).verdict
    assert (plain.attempt, looked.attempt) == (1, 2)
    assert plain.sequential is None
    assert "sequential" not in plain.to_json()
    assert not looked.sequential.stopped
    assert (looked.sequential.look, looked.sequential.asked) == (5, 48)
    # Questions came in other batches.
    assert [gate.verdict for gate in looked.gates] == [gate.verdict for gate in plain.gates]
    assert [gate.after for gate in looked.gates] == pytest.approx([gate.after for gate in plain.gates], rel=1e-4)
    assert [(each.task, each.n) for each in looked.results] == [(each.task, each.n) for each in plain.results]
