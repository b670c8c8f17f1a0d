"""A sweep on a Ray cluster of two workers: the same points, also where a worker or the driver is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy

from govern.audit import Log
from govern.records import SweepPoint
from govern.workflow.sweeps.cluster import on_ray
from govern.workflow.sweeps.sweep import sweep

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def swept(tiny_policy: TinyPolicy) -> TinyPolicy:
    """The tiny policy with a grid of six points, and half of its questions to choose by."""
    tiny_policy.replace("coefficient: 5", "coefficient: {sweep: {values: [1, 5, 20]}}")
    tiny_policy.replace("tasks:\n", "sweep: {importance: [ratio, uniform]}\ntasks:\n")
    tiny_policy.replace("cluster: fact}\n  - {name: colour", "cluster: fact, use: split}\n  - {name: colour")
    tiny_policy.replace("cluster: fact}\nverification", "cluster: fact, use: split}\nverification")
    return tiny_policy.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n")


def facts(point: SweepPoint) -> dict[str, object]:
    """All of a point but how long it took, and how much memory."""
    return {name: value for name, value in point.to_json().items() if not name.endswith(("_seconds", "_bytes"))}


def workers() -> list[int]:
    """The processes that score a point right now."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::score_point"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_points_are_those_of_one_process_and_a_lost_worker_is_replaced(swept: TinyPolicy, tmp_path: Path) -> None:
    serial = sweep(swept.path, workspace=tmp_path / "serial").record
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for process in workers()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
            time.sleep(0.05)

    watcher = threading.Thread(target=kill_one)
    watcher.start()
    shared = sweep(swept.path, workspace=tmp_path / "shared", runner=on_ray).record
    watcher.join()
    assert killed
    assert [facts(point) for point in shared.points] == [facts(point) for point in serial.points]
    assert (shared.chosen, shared.front, shared.reason) == (serial.chosen, serial.front, serial.reason)


def test_a_killed_driver_resumes(swept: TinyPolicy) -> None:
    command = [sys.executable, "-m", "govern", "sweep", "--executor", "ray", "-w", str(swept.workspace), "--json"]

    def points() -> int:
        if not (swept.workspace / "audit.db").exists():
            return 0
        with Log.open(swept.workspace / "audit.db", create=False) as log:
            return sum(1 for _ in log.events(type="sweep.point"))

    driver = subprocess.Popen([*command, str(swept.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not points() and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    before = points()
    assert before
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=300, check=False)
    assert resumed.returncode in (0, 3, 5), resumed.stderr
    record = json.loads(resumed.stdout)
    assert [point["number"] for point in record["points"]] == list(range(6))
    assert points() == 6
    if before < 6:
        with Log.open(swept.workspace / "audit.db", create=False) as log:
            assert [stored.event.type for stored in log.events(type="sweep.resumed")] == ["sweep.resumed"]
