"""`govern compare` at 80 columns, in a pipe, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
from govern.audit import Log
from govern.cli import app
from govern.errors import IntegrityError


@pytest.fixture
def two_runs(tiny_policy: TinyPolicy) -> TinyPolicy:
    for ceiling in ("0.9", "0.1"):
        tiny_policy.replace("ceiling: 0.9", f"ceiling: {ceiling}")
        govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
        govern.verify(workspace=tiny_policy.workspace)
    return tiny_policy


def test_two_runs_side_by_side(two_runs: TinyPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with Log.open(two_runs.workspace / "audit.db", create=False) as log:
        # By the log: both may have begun within one second, and then their names have no order.
        first = str(next(log.events(type="apply.started")).event.run)
    arguments = ["compare", first, "latest", "--workspace", str(two_runs.workspace)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert "\x1b" not in shown.stdout
    words = " ".join(shown.stdout.split())
    assert "B: accuracy at most 10.0 %" in words
    assert "policy_digest" in words

    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["second"]["verdict"] == "fail"
    differ = [entry["name"] for entry in found["differences"] if entry["group"] != "environment"]
    assert differ == ["policy_digest"]

    (Path(two_runs.workspace) / "runs" / first / "plan.json").unlink()
    with pytest.raises(IntegrityError, match=r"plan\.json"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
