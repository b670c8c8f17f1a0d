"""`torchrun … -m govern apply`: several processes, one run, one log, one voice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from test_workflow_story import event_types, stopped
from tiny_policy import TinyPolicy

import govern
import govern.workflow.removal.apply as story
from govern.errors import UsageError
from govern.unlearning.workers import Alone
from govern.workflow.publication.audit import audit


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "govern"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_two_processes_apply_a_policy_as_one(tiny_policy: TinyPolicy) -> None:
    done = torchrun("apply", tiny_policy.path, "--workspace", tiny_policy.workspace, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # one object: the other process is silent
    assert event_types(tiny_policy.workspace) == ["log.created", "apply.started", "apply.finished"]
    audit(tiny_policy.workspace)
    (run,) = (tiny_policy.workspace / "runs").iterdir()
    assert json.loads((run / "plan.json").read_text())["environment"]["workers"] == 2

    alone = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    assert "workers" not in alone.plan.to_json()["environment"]
    losses = [point["loss"] for point in said["removal"]["curve"]]
    assert losses == pytest.approx([point.loss for point in alone.removal.curve], rel=1e-3)
    ours, theirs = (load_file(folder / "delta.safetensors") for folder in (run, alone.run.root))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=2e-2, atol=1e-3)  # bfloat16


def test_an_invalid_policy_is_said_once(tiny_policy: TinyPolicy) -> None:
    tiny_policy.path.write_text("schema: govern/v1\n")
    done = torchrun("apply", tiny_policy.path, "--workspace", tiny_policy.workspace)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == done.stderr.count(str(tiny_policy.path))
    assert done.stderr.count("forget") == 1


@pytest.mark.slow
def test_a_run_is_resumed_by_as_many_processes_as_began_it(
    tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = story.apply
    with monkeypatch.context() as patch:
        patch.setattr(story, "apply", lambda *paths, **named: apply(*paths, **named, workers=Alone(size=2)))
        stopped(tiny_policy, monkeypatch)
    with pytest.raises(UsageError, match="another number of processes"):
        govern.apply(None, workspace=tiny_policy.workspace, resume=True)
