"""A removal is made again from its plan, by its holder and by somebody who has nothing but a pack and the model."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from review_team import Team
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log
from govern.errors import GovernError, IntegrityError
from govern.records import Event
from govern.unlearning.protocol import Edit
from govern.unlearning.registry import METHODS
from govern.workflow.publication.audit import audit
from govern.workflow.removal.reproduce import TOLERANCES, relative_differences, reproduce, reproduce_pack


def newest(workspace: Path) -> Event:
    with Log.open(workspace / "audit.db", create=False) as log:
        head = log.head()
    assert head is not None
    return head.event


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture(params=["gradient", "closed_form"])
def applied(request: pytest.FixtureRequest, tiny_policy: TinyPolicy) -> TinyPolicy:
    if request.param == "closed_form":
        tiny_policy.replace("solver: gradient", "solver: closed_form")
        for setting in ("  steps: 12\n", "  learning_rate: 1e-2\n"):
            tiny_policy.replace(setting, "")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    return tiny_policy


def test_the_same_bits_on_the_same_machine(applied: TinyPolicy) -> None:
    before = contents(applied.workspace / "runs")
    found = reproduce(None, workspace=applied.workspace)
    assert (found.result, found.changed, found.largest) == ("equal", (), 0.0)
    assert found.delta_sha256 == found.recorded_sha256
    assert contents(applied.workspace / "runs") == before
    assert not list(applied.workspace.glob(".reproduce-*"))
    event = newest(applied.workspace)
    assert event.type == "reproduce.finished"
    assert event.parameters["result"] == "equal"
    assert event.environment == found.environment.to_json()
    audit(applied.workspace)


@pytest.mark.slow
def test_another_thread_count_is_said_and_stays_within_the_tolerance(applied: TinyPolicy) -> None:
    threads = torch.get_num_threads()
    found = reproduce(None, workspace=applied.workspace, threads=threads + 1)
    assert found.changed == ("threads",)
    assert found.result in ("equal", "within")
    assert found.largest <= found.tolerance == TOLERANCES["float32"]
    assert torch.get_num_threads() == threads


def scaled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * 1.5


def one_bit(tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(torch.int16)[0, 0] ^= 1
    return changed


def dishonest(
    policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """A run whose delta does not come out of its plan. A mock, since no honest method would: its last tensor is off."""

    honest = METHODS["srmu"]

    def method(request: Any) -> Edit:
        edit = honest.edit(request)
        name = sorted(edit.tensors)[-1]
        return dataclasses.replace(edit, tensors={**edit.tensors, name: change(edit.tensors[name])})

    with monkeypatch.context() as patch:
        liar = dataclasses.replace(honest, steer=None, run=method)
        patch.setattr("govern.workflow.removal.apply.method_named", {"srmu": liar}.__getitem__)
        govern.apply(policy.path, workspace=policy.workspace)


@pytest.mark.slow
def test_a_removal_that_does_not_come_out_of_its_plan_is_found(
    tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    dishonest(tiny_policy, monkeypatch, scaled)
    found = reproduce(None, workspace=tiny_policy.workspace)
    assert found.result == "different"
    first, last = found.differences.values()
    assert first == 0
    assert last > found.tolerance
    assert newest(tiny_policy.workspace).parameters["result"] == "different"
    command = [sys.executable, "-m", "govern", "reproduce", "--workspace", str(tiny_policy.workspace)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    told = json.loads(done.stdout)
    assert (told["format_version"], told["result"], told["run"]) == (1, "different", found.run)
    assert told["largest_difference"] == pytest.approx(last)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "does not come out of its plan" in done.stdout


def test_other_bits_in_the_same_environment_are_different_however_few(
    tiny_policy: TinyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    dishonest(tiny_policy, monkeypatch, one_bit)
    found = reproduce(None, workspace=tiny_policy.workspace)
    assert 0 < found.largest <= found.tolerance == TOLERANCES["float32"]
    assert found.result == "different"
    elsewhere = reproduce(None, workspace=tiny_policy.workspace, threads=torch.get_num_threads() + 1)
    assert elsewhere.result == "within"


def test_a_text_that_was_changed_since_is_named(applied: TinyPolicy) -> None:
    (applied.path.parent / "forget.jsonl").write_text('{"text": "Something else altogether."}\n')
    with pytest.raises(IntegrityError, match="corpus forget-0 is not the recorded one"):
        reproduce(None, workspace=applied.workspace)
    assert newest(applied.workspace).type == "reproduce.failed"


def test_a_pack_a_model_and_the_texts_are_enough(packed_once: Path, team_once: Team, tiny_llama: Path) -> None:
    texts = team_once.policy.path.parent
    found = reproduce_pack(packed_once, model=tiny_llama, texts=texts)
    assert found.result == "equal"
    inputs = next((packed_once.parent / "audits" / "runs").iterdir()) / "inputs"
    assert reproduce_pack(packed_once, model=tiny_llama, texts=texts, inputs=inputs).result == "equal"


def test_what_an_outsider_lacks_is_said(
    packed_once: Path, team_once: Team, tiny_llama: Path, tiny_checkpoint: Any, tmp_path: Path
) -> None:
    texts = team_once.policy.path.parent
    with pytest.raises(GovernError, match="no such file") as caught:
        reproduce_pack(packed_once, model=tiny_llama)
    assert "--texts" in (caught.value.hint or "")
    with pytest.raises(IntegrityError, match="not the model of the plan"):
        reproduce_pack(packed_once, model=tiny_checkpoint("mistral"), texts=texts)
    inputs = next((packed_once.parent / "audits" / "runs").iterdir()) / "inputs"
    shutil.copytree(inputs, tmp_path / "inputs")
    shutil.copy(inputs / "perplexity-0.safetensors", tmp_path / "inputs" / "retain-1.safetensors")
    with pytest.raises(IntegrityError, match="corpus retain-1 is not the recorded one"):
        reproduce_pack(packed_once, model=tiny_llama, texts=texts, inputs=tmp_path / "inputs")


def test_text_that_another_platform_samples_is_explained(
    packed_once: Path, team_once: Team, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock in place of another platform, which this machine is not: its sampling gives other tokens."""
    from govern.corpora import TokenCorpus

    monkeypatch.setattr("govern.workflow.removal.plan.sample_from_model", lambda *_, **__: TokenCorpus(((1, 2, 3),)))
    with pytest.raises(IntegrityError, match="retain-1") as caught:
        reproduce_pack(packed_once, model=tiny_llama, texts=team_once.policy.path.parent)
    assert "--inputs" in (caught.value.hint or "")


def test_differences_are_relative_to_the_change() -> None:
    base = {"w": torch.tensor([3.0, 4.0])}
    recorded = {"w": torch.tensor([3.0, 6.0])}
    assert relative_differences(recorded, recorded, base) == {"w": 0.0}
    assert relative_differences(recorded, {"w": torch.tensor([3.0, 6.5])}, base) == {"w": 0.25}
    assert relative_differences(recorded, base, base) == {"w": 1.0}
    with pytest.raises(IntegrityError, match="other tensors"):
        relative_differences(recorded, {"v": base["w"]}, base)


@pytest.mark.slow
def test_the_guide_s_commands_work(packed_once: Path, team_once: Team, tmp_path: Path) -> None:
    shutil.copytree(packed_once.parent / "audits", tmp_path / "audits")
    shutil.copytree(packed_once, tmp_path / "evidence")
    shutil.copytree(team_once.policy.path.parent, tmp_path / "policies")
    page = (Path(__file__).parents[3] / "docs" / "reproduce.md").read_text()
    told = [line.strip() for line in page.splitlines() if line.startswith("    govern ")]
    assert len(told) == 2
    for line in told:
        done = subprocess.run(
            [sys.executable, "-m", *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "result equal" in done.stdout
