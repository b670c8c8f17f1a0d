"""The command as people and pipelines meet it: its output and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "init", "plan", "apply", "verify", "export", "report open", "report render", "report verify",
    "report export", "report schema", "review", "status", "compare", "site",
    "audit log", "audit verify", "policy validate", "policy schema", "keys generate",
    "reproduce", "waive", "revoke", "models log", "runs prune", "policy fingerprint",
]  # fmt: skip


@pytest.fixture
def govern(command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command in this process, in a folder of its own, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return command


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_explains_itself(words: str, govern: Callable[..., Any]) -> None:
    done = govern(*words.split(), "--help")
    assert done.code == 0
    assert "Usage" in done.out
    if words != "policy schema":
        assert "--json" in done.out


def test_help_names_the_exit_codes_and_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['govern', '--help']\n"
        "from govern.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'lm_eval', 'pydantic', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "5 inconclusive" in done.stdout.replace("\n", " ")


def test_a_users_mistake_is_a_message_and_a_code(govern: Callable[..., Any]) -> None:
    done = govern("apply", "missing.yaml")
    assert done.code == 2
    assert "missing.yaml" in done.err
    assert "Traceback" not in done.err
    assert not done.out

    done = govern("verify")
    assert done.code == 2
    assert "no audit log" in done.err

    done = govern("apply")
    assert done.code == 2

    done = govern("report", "verify", "nothing.html")
    assert done.code == 2

    done = govern("frobnicate")
    assert done.code == 2


def test_a_shipped_policy_without_its_model_says_how_to_get_it(
    govern: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = ROOT / "policies" / "bio_hazard.yaml"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = govern("apply", policy)
    assert done.code == 2, done.err
    assert "govern sweep" in done.err
    done = govern("sweep", policy)
    assert done.code == 1, done.err
    assert "zephyr-7b-beta" in done.err
    assert "Traceback" not in done.err
    listed = govern("audit", "log", "--json")
    assert [event["type"] for event in json.loads(listed.out)["events"]] == [
        "log.created", "sweep.started", "sweep.failed",
    ]  # fmt: skip


def test_no_control_character_reaches_the_terminal(govern: Callable[..., Any], tmp_path: Path) -> None:
    policy = tmp_path / "bad\x1b[31m.yaml"
    policy.write_text("schema: govern/v1\n")
    done = govern("policy", "validate", policy)
    assert done.code == 2
    assert "\x1b" not in done.err
