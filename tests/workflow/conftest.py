"""The tiny policy, laid out afresh for each test, and a workspace where it was verified."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from review_team import Team, gather, keys_of
from small_log import PASSWORD, grow
from tiny_policy import TinyPolicy, laid_in, lay

import govern
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.evidence import pack

BuildOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(autouse=True, scope="session")
def cheap_passwords() -> Iterator[None]:
    """Keys that guard nothing: a password is stretched to a thousandth. tests/signing holds the real costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("govern.signing.pkcs8.SCRYPT_N", 2**6)
        patch.setattr("govern.signing.pkcs8.SCRYPT_P", 1)
        yield


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
