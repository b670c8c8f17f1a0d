"""The story told by the command line, killed half-way and finished; every step with --json."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import TinyPolicy

import govern

Command = Callable[..., Any]


def argv(policy: TinyPolicy, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "govern", *arguments, "--workspace", str(policy.workspace)]


AsJson = Callable[..., dict[str, Any]]


@pytest.fixture
def as_json(command: Command, tiny_policy: TinyPolicy) -> AsJson:
    """A command's one JSON object on stdout, and its exit code as it has to be."""

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = command(*arguments, "--json", "--workspace", tiny_policy.workspace)
        assert done.code == code, done.err
        found: dict[str, Any] = json.loads(done.out)
        assert found["format_version"] == 1
        return found

    return run


def test_each_command_prints_one_json_object(tiny_policy: TinyPolicy, as_json: AsJson, command: Command) -> None:
    assert as_json("apply", str(tiny_policy.path))["removal"]["method"] == "srmu"
    verified = as_json("verify", code=5)
    assert verified["verdict"] == "inconclusive"
    assert {
        "task",
        "metric",
        "kind",
        "n",
        "clusters",
        "before",
        "after",
        "bound",
        "threshold",
        "verdict",
        "reason",
    } <= set(verified["gates"][0])
    report = as_json("report", "verify", verified["report"])
    assert (report["valid"], report["signer"], report["throwaway_key"]) == (True, None, True)
    assert as_json("report", "open")["report"] == verified["report"]
    assert as_json("audit", "verify")["valid"]
    assert len(as_json("audit", "log")["events"]) == 6

    page = Path(verified["report"])
    page.write_bytes(page.read_bytes().replace(b"inconclusive", b"pass        ", 1))
    done = command("report", "verify", str(page), "--workspace", tiny_policy.workspace)
    assert done.code == 4
    assert "report.html" in done.err
    assert "changed after it was signed" in done.err.replace("\n", " ")


def test_a_failed_gate_exits_3(tiny_policy: TinyPolicy, as_json: AsJson) -> None:
    tiny_policy.replace("{task: colour, max_drop: 0.5}", "{task: colour, floor: 0.95}")
    as_json("apply", str(tiny_policy.path))
    assert as_json("verify", code=3)["verdict"] == "fail"


@pytest.mark.slow
def test_a_kept_and_pinned_key_is_named(tiny_policy: TinyPolicy) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "correct horse battery staple"}
    run = lambda *arguments: subprocess.run(  # noqa: E731
        argv(tiny_policy, *arguments), env=environment, capture_output=True, text=True, check=False
    )
    assert run("keys", "generate").returncode == 0
    assert run("apply", str(tiny_policy.path)).returncode == 0
    verified = run("verify", "--json")
    assert verified.returncode == 5, verified.stderr
    report = json.loads(verified.stdout)["report"]
    assert "signer unknown" in run("report", "verify", report).stdout
    trusted = tiny_policy.workspace / "trusted"
    trusted.mkdir()
    (trusted / "ada.pub").write_bytes((tiny_policy.workspace / "keys" / "signing.pub").read_bytes())
    assert "signer ada" in run("report", "verify", report).stdout
    assert run("audit", "verify").returncode == 0


@pytest.mark.slow
def test_killed_at_a_random_step_and_resumed_gives_the_same_delta(tiny_policy: TinyPolicy, as_json: AsJson) -> None:
    tiny_policy.replace("steps: 12", "steps: 400")
    whole = govern.apply(tiny_policy.path, workspace=tiny_policy.workspace.with_name("whole"))

    process = subprocess.Popen(
        argv(tiny_policy, "apply", str(tiny_policy.path)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    runs = tiny_policy.workspace / "runs"
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/checkpoint/*.safetensors")):
        assert process.poll() is None, "the run ended before it wrote a checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.Random().uniform(0, 0.3))
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()

    log = as_json("audit", "log")["events"]
    assert [event["type"] for event in log] == ["log.created", "apply.started"]
    resumed = as_json("apply", "--resume")["removal"]
    assert resumed["resumed"] == 1
    assert resumed["delta_sha256"] == whole.removal.delta_sha256
    assert resumed["curve"] == [point.to_json() for point in whole.removal.curve]
    assert not list(runs.glob("*/checkpoint"))


def test_an_interrupted_run_says_how_to_continue(tiny_policy: TinyPolicy) -> None:
    tiny_policy.replace("steps: 12", "steps: 5000")
    # A suite that was started in the background ignores the signal, and what it starts would inherit that.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        argv(tiny_policy, "apply", str(tiny_policy.path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, inherited)
    while not list((tiny_policy.workspace / "runs").glob("*/checkpoint/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "govern apply --resume" in errors
    assert "Traceback" not in errors
