"""Opening a workspace makes nothing: a mistyped name leaves no folder behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from govern.audit import Log
from govern.errors import UsageError
from govern.workspace import Workspace


def test_a_mistyped_workspace_is_not_made(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path / "typo")
    assert place.runs() == place.sweeps() == []
    with pytest.raises(UsageError, match="no audit log"):
        Log.read(Workspace.open(tmp_path / "typo").database)
    with pytest.raises(UsageError, match="no run"):
        place.run("20260101-000000-x-0000")
    assert list(tmp_path.iterdir()) == []


def test_the_first_run_and_the_first_log_make_what_they_need(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path / "deep" / "audits")
    with Log.open(place.database) as log:
        log.append("apply.started", run=place.new_run("demo").id)
    assert [run.id for run in place.runs()] == [path.name for path in (place.root / "runs").iterdir()]


@pytest.mark.parametrize("name", ["file", "file/audits", "x" * 300])
def test_what_can_be_no_workspace_is_said_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot use"):
        Workspace.open(tmp_path / name)
