"""What happened to a model, before and after it, through edits of edits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import TinyPolicy

import govern
from govern.errors import SourceError, UsageError
from govern.workflow.log.models import ModelHistory, models_log
from govern.workflow.removal.export import export


@pytest.fixture
def chain(tiny_policy: TinyPolicy, tiny_llama: Path, tmp_path: Path) -> tuple[TinyPolicy, list[str]]:
    """A model, edited; the result edited again in two ways. Returns the digests: base, first, second, other second."""
    first = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace).removal
    edited = tmp_path / "edited"
    export(None, edited, workspace=tiny_policy.workspace)
    tiny_policy.replace(f"file:{tiny_llama}", f"file:{edited}")
    second = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace).removal
    tiny_policy.replace("  seed: 0", "  seed: 7")
    other = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace).removal
    return tiny_policy, [
        first.base_model_digest, first.edited_model_digest, second.edited_model_digest, other.edited_model_digest,
    ]  # fmt: skip


def kinds(found: ModelHistory, relation: str) -> list[str]:
    return [happened.stored.event.type for happened in found.events if happened.relation == relation]


def test_both_directions_through_edits_of_edits(chain: tuple[TinyPolicy, list[str]]) -> None:
    policy, (base, first, second, other) = chain
    middle = models_log(first[:12], workspace=policy.workspace)
    assert (middle.digest, middle.ancestors, middle.descendants) == (first, (base,), (second, other))
    assert kinds(middle, "itself") == [
        "apply.started", "apply.finished", "export.finished", "apply.started", "apply.finished", "apply.started",
        "apply.finished",
    ]  # fmt: skip
    root = models_log(base, workspace=policy.workspace)
    assert (root.ancestors, root.descendants) == ((), (first, second, other))
    assert kinds(root, "itself") == ["apply.started", "apply.finished", "export.finished"]
    assert kinds(root, "descendant") == ["apply.started", "apply.finished"] * 2
    leaf = models_log(f"sha256:{second}", workspace=policy.workspace)
    # Its sibling is no kin of it in either direction.
    assert (leaf.ancestors, leaf.descendants) == ((base, first), ())
    assert kinds(leaf, "ancestor") == ["apply.started", "apply.finished", "export.finished"]
    assert list(leaf.edits.values()) == [(base, first), (first, second)]


def test_a_try_that_came_to_nothing_is_its_model_s(verified: TinyPolicy, tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(verified.path.parent, tmp_path / "policies")
    policy = TinyPolicy(tmp_path / "policies" / verified.path.name, verified.workspace)
    (policy.path.parent / "colour.jsonl").unlink()
    (policy.path.parent / "colour.jsonl").mkdir()
    with Path(policy.workspace / "audit.db").open("rb"):
        base = json.loads(
            subprocess.run(
                [sys.executable, "-m", "govern", "audit", "log", "--json", "-w", str(policy.workspace)],
                capture_output=True,
                check=True,
            ).stdout
        )["events"][-1]["model_before"]
    found = models_log(base, workspace=policy.workspace)
    assert kinds(found, "itself") == [
        "apply.started", "apply.finished", "verify.started", "verify.finished", "report.issued",
    ]  # fmt: skip
    with pytest.raises((SourceError, UsageError, govern.errors.GovernError)):
        govern.apply(policy.path, workspace=policy.workspace)


def test_a_digest_has_to_name_one_model(verified: TinyPolicy) -> None:
    for digest, said in (("abc", "no digest"), ("z" * 12, "no digest"), ("0" * 12, "knows no model")):
        with pytest.raises(UsageError, match=said):
            models_log(digest, workspace=verified.workspace)


def test_the_command_prints_both_forms(
    chain: tuple[TinyPolicy, list[str]], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    policy, (base, first, second, other) = chain

    def run(*arguments: str) -> str:
        done = command("models", "log", *arguments, "--workspace", policy.workspace)
        assert done.code == 0, done.err
        return str(done.out)

    told = json.loads(run(first, "--json"))
    assert (told["digest"], told["ancestors"], told["descendants"]) == (first, [base], [second, other])
    assert [edit["before"] for edit in told["edits"]] == [base, first, first]
    assert {event["relation"] for event in told["events"]} == {"itself"}
    shown = run(second[:8])
    assert f"from  sha256:{base}" in shown
    assert f"model sha256:{second}" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if "sha256" not in line)
