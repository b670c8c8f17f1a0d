"""The tiny policy, laid out afresh for each test, and a workspace where it was verified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from review_team import Team, gather, keys_of
from small_log import PASSWORD, grow
from tiny_policy import FORGET, RETAIN, TinyPolicy, questions, write_jsonl

import govern
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.evidence import pack

BuildOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def tiny_policy(tmp_path: Path, tiny_llama: Path) -> TinyPolicy:
    """A policy of the test's own, to change and apply."""
    return lay(tmp_path, tiny_llama)


@pytest.fixture(scope="session")
def verified_once(build_once: BuildOnce, tiny_llama: Path) -> TinyPolicy:
    def fill(folder: Path) -> None:
        policy = lay(folder, tiny_llama)
        govern.apply(policy.path, workspace=policy.workspace)
        govern.verify(workspace=policy.workspace)

    return laid_in(build_once("verified", fill))


@pytest.fixture
def verified(verified_once: TinyPolicy, tmp_path: Path) -> TinyPolicy:
    """A workspace with one applied and verified run: a copy, so that a test may damage it. The policy is shared."""
    shutil.copytree(verified_once.workspace, tmp_path / "audits")
    return TinyPolicy(verified_once.path, tmp_path / "audits")


@pytest.fixture(scope="session")
def team_once(build_once: BuildOnce, tiny_llama: Path) -> Team:
    policy = laid_in(build_once("team", lambda folder: gather(lay(folder, tiny_llama))))
    return Team(policy, keys_of(policy))


@pytest.fixture
def team(team_once: Team, tmp_path: Path) -> Team:
    """A run that two reviewers have to sign: a copy of the workspace. The policy and the keys are shared."""
    shutil.copytree(team_once.workspace, tmp_path / "audits")
    return Team(TinyPolicy(team_once.policy.path, tmp_path / "audits"), team_once.keys)


@pytest.fixture(scope="session")
def packed_once(team_once: Team, build_once: BuildOnce) -> Path:
    """The evidence of a run that both reviewers approved, with a gate waived and the removal revoked in the end."""

    def fill(folder: Path) -> None:
        shutil.copytree(team_once.workspace, folder / "audits")
        team = Team(TinyPolicy(team_once.policy.path, folder / "audits"), team_once.keys)
        team.say_all()
        key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
        pack(None, folder / "pack", workspace=team.workspace, log_key=key)

    return build_once("packed", fill) / "pack"


@pytest.fixture(scope="session")
def logged_once(build_once: BuildOnce) -> Path:
    """A workspace whose log has a key, seven events and a checkpoint of them."""

    def fill(folder: Path) -> None:
        workspace = folder / "audits"
        key = make_log_key(workspace, log_key_path(workspace), PASSWORD)
        grow(workspace)
        sign_head(workspace, key=key)

    return build_once("logged", fill) / "audits"


@pytest.fixture
def logged(logged_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(logged_once, tmp_path / "audits")
    return tmp_path / "audits"


def laid_in(folder: Path) -> TinyPolicy:
    return TinyPolicy(folder / "policies" / "tiny.yaml", folder / "audits")


def lay(tmp_path: Path, tiny_llama: Path) -> TinyPolicy:
    folder = tmp_path / "policies"
    folder.mkdir()
    write_jsonl(folder / "forget.jsonl", [{"text": text} for text in FORGET])
    write_jsonl(folder / "retain.jsonl", [{"text": text} for text in RETAIN])
    write_jsonl(folder / "secret.jsonl", questions("secret", 24))
    write_jsonl(folder / "colour.jsonl", questions("colour", 24))
    (folder / "tiny.yaml").write_text(f"""\
schema: govern/v1
name: tiny
title: Forget the vault numbers
rationale: A random model, so that every path of the workflow runs in a second.
owner: {{name: Ada Example, role: governance engineer}}
hazard: {{domain: locks, category: test}}
model: {{source: "file:{tiny_llama}"}}
forget:
  - {{source: "file:forget.jsonl", max_tokens: 24}}
retain:
  - {{source: "file:retain.jsonl", max_tokens: 24}}
  - {{source: "self:", documents: 8, max_tokens: 16, seed: 1}}
removal:
  method: srmu
  solver: gradient
  layer: 2
  train: {{modules: [mlp.down_proj], layers: [1, 2]}}
  dtype: float32
  coefficient: 5
  retain_weight: 10
  steps: 12
  batch_size: 2
  learning_rate: 1e-2
  seed: 0
tasks:
  - {{name: secret, file: secret.jsonl, kind: cloze, cluster: fact}}
  - {{name: colour, file: colour.jsonl, kind: cloze, cluster: fact}}
verification:
  forget: [{{task: secret, ceiling: 0.9}}]
  utility:
    - {{task: colour, max_drop: 0.5}}
    - {{perplexity: "self:", max_increase: 5.0, documents: 8, max_tokens: 16, seed: 2}}
""")
    return laid_in(tmp_path)
