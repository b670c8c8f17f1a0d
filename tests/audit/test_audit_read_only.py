"""Reading a log writes nothing: not into it, not beside it; so a read-only copy can be read, and one on a full disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from disks import fill

from govern.audit import Log, fsck
from govern.errors import GovernError, IntegrityError, UsageError

NOBODY = 65534

# Appends, and is killed before anything moves from the write-ahead log into the file.
KILLED = """
import os, sys
from pathlib import Path
from govern.audit import Log
log = Log.open(Path(sys.argv[1]))
for _ in range(3):
    log.append("apply.started", run="late")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, with a log of six events."""
    made = Path(tempfile.mkdtemp(prefix="govern-read-"))
    made.chmod(0o755)
    with Log.open(made / "audit.db") as log:
        for number in range(5):
            log.append("apply.started", run=f"run-{number % 2}")
    yield made
    shutil.rmtree(made)


def read_all(database: Path) -> int:
    """Every way to read; the log's size."""
    with Log.read(database) as log:
        head = log.verify()
        assert log.tree_head() == head.tree
        assert len(list(log.events())) == head.size
        assert list(log.events(run="nobody")) == []
        assert log.event(1).event.run == "run-0"
        assert len(log.prove_inclusion(1, head.size)) > 1
        assert log.prove_consistency(2, head.size)
    assert list(fsck(database)) == []
    return head.size


def as_nobody(do: Callable[[], int]) -> int:
    """What `do` answers in a process without rights; root may write anywhere."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os._exit(do())
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def picture(folder: Path) -> object:
    """All that reading could leave behind."""
    return folder.stat().st_mtime_ns, {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()
    }


def leave_pending(database: Path) -> None:
    """Three events in the write-ahead log, which a killed writer left beside the file."""
    subprocess.run([sys.executable, "-c", KILLED, database], check=False)
    assert Path(f"{database}-wal").stat().st_size
    Path(f"{database}-shm").unlink()


def test_reading_leaves_nothing_behind(folder: Path) -> None:
    before = picture(folder)
    assert read_all(folder / "audit.db") == 6
    assert picture(folder) == before


def test_reading_what_a_killed_writer_left_leaves_it_as_it_is(folder: Path) -> None:
    leave_pending(folder / "audit.db")
    before = picture(folder)
    assert read_all(folder / "audit.db") == 9
    assert picture(folder) == before


@pytest.mark.parametrize("pending", [False, True])
def test_a_folder_and_a_file_without_rights_can_be_read(folder: Path, pending: bool) -> None:
    if pending:
        leave_pending(folder / "audit.db")
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    assert as_nobody(lambda: read_all(folder / "audit.db")) == (9 if pending else 6)
    folder.chmod(0o755)


def test_a_file_that_may_not_be_read_is_an_error(folder: Path) -> None:
    (folder / "audit.db").chmod(0)

    def refused() -> int:
        with pytest.raises(GovernError, match="Permission denied"):
            Log.read(folder / "audit.db")
        return 7

    assert as_nobody(refused) == 7


@pytest.mark.mount
@pytest.mark.parametrize("pending", [False, True])
def test_a_read_only_medium_can_be_read(folder: Path, tiny_disk: Callable[[str], Path], pending: bool) -> None:
    if pending:
        leave_pending(folder / "audit.db")
    medium = tiny_disk("2m")
    for path in folder.iterdir():
        shutil.copy(path, medium)
    subprocess.run(["mount", "-o", "remount,ro", medium], check=True)
    assert read_all(medium / "audit.db") == (9 if pending else 6)
    assert as_nobody(lambda: read_all(medium / "audit.db")) == (9 if pending else 6)


@pytest.mark.mount
@pytest.mark.parametrize("pending", [False, True])
def test_a_full_disk_can_be_read(folder: Path, tiny_disk: Callable[[str], Path], pending: bool) -> None:
    if pending:
        leave_pending(folder / "audit.db")
    medium = tiny_disk("2m")
    for path in folder.iterdir():
        shutil.copy(path, medium)
    fill(medium, 0)
    assert read_all(medium / "audit.db") == (9 if pending else 6)


def test_an_open_log_shows_what_was_added_since(folder: Path) -> None:
    with Log.read(folder / "audit.db") as reader, Log.open(folder / "audit.db") as writer:
        for size in range(6, 20):
            assert reader.verify().size == size
            assert len(list(reader.events(type="apply.started"))) == size - 1
            writer.append("apply.started")


def test_readers_beside_a_writer_see_whole_logs(folder: Path) -> None:
    ended, sizes, failures = threading.Event(), [], []

    def read() -> None:
        while not ended.is_set():
            try:
                with Log.read(folder / "audit.db") as log:
                    sizes.append(log.verify().size)
            except GovernError as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(60):
        # Opened each time, so that the write-ahead log comes and goes.
        with Log.open(folder / "audit.db") as log:
            log.append("apply.started")
    ended.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[0]
    assert sizes
    assert read_all(folder / "audit.db") == 66


def test_a_large_log_is_read_where_it_lies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("govern.audit.sqlite._MOST_IN_MEMORY", 0)
    assert read_all(folder / "audit.db") == 6
    with Log.open(folder / "audit.db") as log:
        log.append("apply.started")
    assert [path.name for path in folder.iterdir()] == ["audit.db"]


def test_nothing_is_appended_to_a_log_that_is_read(folder: Path) -> None:
    with Log.read(folder / "audit.db") as log, pytest.raises(RuntimeError, match="opened to be read"):
        log.append("apply.started")


def test_what_is_no_log_is_refused_as_for_a_writer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audit log"):
        Log.read(tmp_path / "audit.db")
    for content in (b"", b"x", b"x" * 10_000, b"SQLite format 3\0" + b"\2" * 84):
        (tmp_path / "audit.db").write_bytes(content)
        with pytest.raises(IntegrityError):
            Log.read(tmp_path / "audit.db")
    (tmp_path / "audit.db").unlink()
    with closing(sqlite3.connect(tmp_path / "audit.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(IntegrityError, match="not an audit log"):
        Log.read(tmp_path / "audit.db")
    (tmp_path / "audit.db").unlink()
    (tmp_path / "audit.db").mkdir()
    with pytest.raises(GovernError):
        Log.read(tmp_path / "audit.db")
