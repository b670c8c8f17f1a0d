"""Run folders: confined, locked, and never half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from govern.errors import GovernError, IntegrityError, UsageError
from govern.workspace import Workspace, write_atomic


def test_writes_stay_inside_the_run(tmp_path: Path) -> None:
    run = Workspace.open(tmp_path / "audits").new_run("demo")
    run.write("inputs/a.json", b"1")
    assert run.read("inputs/a.json") == b"1"
    for name in ("../other/a.json", "/etc/passwd", "inputs/../../a.json"):
        with pytest.raises(UsageError, match="leaves the run's folder"):
            run.write(name, b"1")
    # No name that somebody gave, but somebody's hand in the workspace.
    (run.root / "link").symlink_to(tmp_path)
    with pytest.raises(IntegrityError, match="a link leads out"):
        run.write("link/a.json", b"1")
    (run.root / "loop").symlink_to(run.root / "loop")
    with pytest.raises(IntegrityError):
        run.read("loop")


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "A", "x" * 80])
def test_a_run_id_cannot_leave_the_workspace(tmp_path: Path, name: str) -> None:
    place = Workspace.open(tmp_path)
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match="no run"):
        place.run(name)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = Workspace.open(tmp_path).new_run("demo")
    with run.locked(), pytest.raises(GovernError, match="in use"), run.locked():
        pass
    with run.locked():
        pass


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    # A full disk cannot be had in a test without root; fsync is where it shows at the latest.
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_artefact_is_an_integrity_failure(tmp_path: Path) -> None:
    run = Workspace.open(tmp_path).new_run("demo")
    with pytest.raises(IntegrityError, match=r"plan\.json is missing"):
        run.read("plan.json")


def test_a_series_counts_up(tmp_path: Path) -> None:
    run = Workspace.open(tmp_path).new_run("demo")
    assert run.next_numbered("reports") == "reports/001"
    run.write("reports/001/a", b"")
    run.write("reports/009/a", b"")
    assert run.next_numbered("reports") == "reports/010"


def test_a_workspace_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot use"):
        Workspace.open(tmp_path / "file")


def test_a_pipe_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomic(tmp_path / "pipe", b"all of it")
    assert os.read(reader, 100) == b"all of it"
    assert (tmp_path / "pipe").is_fifo()
    os.close(reader)
