"""Disks that are full, break, or tear what was written: nothing that was acknowledged is lost, damage has a name."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from disks import fill

from govern.audit import Log, fsck, sign_checkpoint
from govern.audit.adding import create_log
from govern.audit.checkpoint import LogVerifier
from govern.errors import GovernError, IntegrityError
from govern.signing import generate_log_key

HERE = Path(__file__).parent
BLOCK = 512

# Appends until it is killed, and says after each event how long the write-ahead log then is.
WRITER = """
import os, sys
from pathlib import Path
from govern.audit import Log
database = Path(sys.argv[1])
log = Log.open(database)
for turn in range(int(sys.argv[2])):
    leaf = log.append("apply.started", seed=turn).leaf
    print(leaf, os.path.getsize(f"{database}-wal"), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def failing_io(tmp_path_factory):
    """The library that makes operations fail."""
    if not sys.platform.startswith("linux") or not shutil.which("cc"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("library") / "failing_io.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "failing_io.c", "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """A log of six events."""
    database = tmp_path_factory.mktemp("golden") / "audit.db"
    with Log.open(database) as log:
        for seq in range(5):
            log.append("apply.started", seed=seq)
    return database


@pytest.fixture(scope="module")
def killed(golden, tmp_path_factory):
    """A copy of it as a killed writer left it: (file, its write-ahead log's bytes, [(leaf, log's length then)])."""
    database = Path(shutil.copy(golden, tmp_path_factory.mktemp("killed") / "audit.db"))
    done = subprocess.run([sys.executable, "-c", WRITER, database, "8"], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    acknowledged = [line.split() for line in done.stdout.splitlines()]
    wal = Path(f"{database}-wal").read_bytes()
    assert len(acknowledged) == 8
    return database, wal, [(leaf, int(length)) for leaf, length in acknowledged]


def leaves(database):
    with Log.open(database, create=False) as log:
        return [stored.leaf for stored in log.events()]


def try_all(library, golden, folder, step):
    done = subprocess.run(
        [sys.executable, HERE / "fault_trials.py", library, golden, folder, str(step)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for trial in found:
        assert trial["damage"] == trial["damaged"] == trial["fell over"] == trial["lost"] == [], trial
        assert trial["later"] == trial["size"] + 1, trial
        assert all("cannot be written: d" in text and "\nMake room" in text for text in trial["refused"]), trial
        # What a killed process was still making lies beside the log, hidden, and is in nobody's way.
        assert trial["killed"] or not trial["leftovers"], trial
        assert all(name.startswith(".audit.db.") for name in trial["leftovers"]), trial
    return found


@pytest.mark.cc
def test_no_failing_operation_loses_or_damages_anything(failing_io, golden, tmp_path):
    found = try_all(failing_io, golden, tmp_path, 6)
    assert {(trial["log"], trial["kind"]) for trial in found if trial["refused"] or trial["killed"]} == {
        (log, kind)
        for log in ("old", "new")
        for kind in ("full once", "full from then on", "broken once", "broken from then on", "torn", "killed")
    }


@pytest.mark.cc
@pytest.mark.slow
def test_no_failing_operation_at_all_loses_or_damages_anything(failing_io, golden, tmp_path):
    assert len(try_all(failing_io, golden, tmp_path, 1)) > 400


def test_a_log_cut_at_any_block_of_its_newest_writes_is_a_shorter_log(killed, tmp_path):
    source, wal, acknowledged = killed
    before = leaves_of_main_file(source, tmp_path)
    for end in range(0, len(wal) + BLOCK, BLOCK):
        check_tail(source, wal[:end], tmp_path, before, acknowledged, damaged_from=end)


def test_a_log_torn_at_any_block_of_its_newest_writes_is_a_shorter_log(killed, tmp_path):
    source, wal, acknowledged = killed
    before = leaves_of_main_file(source, tmp_path)
    for start in range(0, len(wal), BLOCK):
        torn = wal[:start] + b"\xa5" * BLOCK + wal[start + BLOCK :]
        check_tail(source, torn[: len(wal)], tmp_path, before, acknowledged, damaged_from=start)


def leaves_of_main_file(source, folder):
    database = Path(shutil.copy(source, folder / "main.db"))
    return leaves(database)


def check_tail(source, wal, folder, before, acknowledged, *, damaged_from):
    """Everything that was acknowledged before the damage began is there, nothing is invented, and the log goes on."""
    database = Path(shutil.copy(source, folder / "audit.db"))
    Path(f"{database}-wal").write_bytes(wal)
    Path(f"{database}-shm").unlink(missing_ok=True)
    assert list(fsck(database)) == []
    found = leaves(database)
    everything = before + [leaf for leaf, _ in acknowledged]
    # A disk that forgets what it said was safe can cut a log, and nothing else.
    assert found == everything[: len(found)]
    assert len(found) >= len(before) + sum(length <= damaged_from for _, length in acknowledged)
    with Log.open(database) as log:
        log.append("apply.started")
        assert log.verify().size == len(found) + 1


def test_a_checkpoint_tells_that_a_disk_forgot(killed, golden, tmp_path):
    source, wal, acknowledged = killed
    whole = Path(shutil.copy(source, tmp_path / "whole.db"))
    Path(f"{whole}-wal").write_bytes(wal)
    key = generate_log_key(tmp_path / "log.pem", b"password")
    with Log.open(whole) as log:
        checkpoint = log.verify().tree
        sign_checkpoint(checkpoint, LogVerifier(checkpoint.origin, key.public), key.sign)
    cut = Path(shutil.copy(source, tmp_path / "audit.db"))
    Path(f"{cut}-wal").write_bytes(wal[: acknowledged[3][1]])
    with Log.open(cut) as log:
        assert log.verify().size == 10
        with pytest.raises(IntegrityError, match="events were cut off"):
            log.verify(against=checkpoint)


@pytest.mark.parametrize("how", ["torn", "cut"])
def test_damage_to_any_block_of_the_file_is_named_or_changes_nothing(golden, tmp_path, how):
    whole, expected = golden.read_bytes(), leaves(golden)
    named = 0
    for start in range(0, len(whole), BLOCK):
        database = tmp_path / "audit.db"
        for path in tmp_path.iterdir():
            path.unlink()
        torn = whole[:start] + b"\xa5" * BLOCK + whole[start + BLOCK :]
        database.write_bytes(torn if how == "torn" else whole[:start])
        damage = list(fsck(database))
        named += bool(damage)
        if not damage:
            assert leaves(database) == expected
        refused = refusal_of(database)
        assert damage or not refused, refused
    assert named > len(whole) // BLOCK // (5 if how == "torn" else 2)


def refusal_of(database, acknowledged=(), **fields):
    """What the log says against one more event; None, and the leaf in `acknowledged`, where it takes it."""
    try:
        with Log.open(database) as log:
            leaf = log.append("apply.started", **fields).leaf
    except GovernError as error:
        return error
    if isinstance(acknowledged, list):
        acknowledged.append(leaf)
    return None


@pytest.mark.mount
@pytest.mark.parametrize("left", [0, 4096, 20_000, 60_000])
def test_a_full_disk_refuses_and_forgets_nothing(golden, tiny_disk, left):
    folder = tiny_disk("1m")
    database = Path(shutil.copy(golden, folder / "audit.db"))
    ballast = fill(folder, left)
    acknowledged = leaves(golden)
    said = [refusal_of(database, acknowledged, parameters={"x": "y" * 500}) for _ in range(100)]
    refused = [error for error in said if error]
    assert all("Make room on the disk" in str(error) for error in refused)
    assert not any(isinstance(error, IntegrityError) for error in refused)
    assert refused
    ballast.unlink()
    assert list(fsck(database)) == []
    assert leaves(database) == acknowledged
    with Log.open(database) as log:
        log.append("apply.started")
        assert log.verify().size == len(acknowledged) + 1


def test_a_file_that_may_not_grow_refuses_and_forgets_nothing(golden, tmp_path):
    database = Path(shutil.copy(golden, tmp_path / "audit.db"))
    acknowledged = leaves(database)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        refused = None
        while not refused:
            refused = refusal_of(database, acknowledged, parameters={"x": "y" * 500})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "cannot be written" in str(refused)
    assert not isinstance(refused, IntegrityError)
    assert len(acknowledged) > 7
    assert list(fsck(database)) == []
    assert leaves(database) == acknowledged


@pytest.mark.mount
@pytest.mark.postgres
def test_a_server_with_a_full_disk_refuses_and_forgets_nothing(tiny_disk, make_postgres):
    folder = tiny_disk("120m")
    server = make_postgres(folder)
    database = server.url("postgres")
    create_log(database)
    ballast = fill(folder, 100_000)
    acknowledged, refused = leaves(database), None
    while not refused:
        refused = refusal_of(database, acknowledged, parameters={"x": os.urandom(20_000).hex()})
    assert not isinstance(refused, IntegrityError)
    ballast.unlink()
    server.restart()
    assert list(fsck(database)) == []
    found = leaves(database)
    # An event may have been written whose acknowledgement was not heard.
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1
    with Log.open(database) as log:
        log.append("apply.started")
        log.verify()
