"""Several processes append and are killed without warning: the log stays dense and linear, and loses nothing.

So it does where PostgreSQL itself is killed.
"""

import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from govern.audit import Log, fsck
from govern.audit.adding import create_log
from govern.errors import GovernError, IntegrityError

WRITER = """
import sys
from pathlib import Path
from govern.audit import Log, fsck
from govern.audit.adding import create_log
from govern.errors import GovernError, IntegrityError
database = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
with Log.open(database) as log:
    for turn in range(int(sys.argv[2])):
        stored = log.append("apply.started", run=sys.argv[3], seed=turn)
        print(stored.event.seq, stored.leaf, flush=True)
"""


def race(database, *, writers, appends, kills, seed):
    """Run the writers, kill some of them, start others in their place. Returns the acknowledged (seq, leaf) pairs."""
    chance = random.Random(seed)
    acknowledged, failures, lock = [], [], threading.Lock()
    left = [kills]

    def work(name):
        done = 0
        while done < appends:
            process = subprocess.Popen(
                [sys.executable, "-c", WRITER, database, str(appends - done), name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            with lock:
                fatal = chance.randrange(1, max(2, (appends - done) // 2)) if left[0] > 0 else None
                left[0] -= fatal is not None
            for count, line in enumerate(process.stdout, 1):
                # A kill can cut the last line short; half an acknowledgement is none.
                if not line.endswith("\n") or len(line.split()) != 2:
                    break
                seq, leaf = line.split()
                with lock:
                    acknowledged.append((int(seq), leaf))
                done += 1
                if count == fatal:
                    time.sleep(chance.random() / 200)
                    process.kill()
            errors = process.stderr.read()
            if process.wait() not in (0, -signal.SIGKILL):
                failures.append(errors)
                return

    threads = [threading.Thread(target=work, args=(f"writer-{number}",)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    return acknowledged


def check(database, acknowledged):
    with Log.open(database, create=False) as log:
        head = log.verify()
        stored = {entry.event.seq: entry.leaf for entry in log.events()}
    assert sorted(stored) == list(range(head.size))
    for seq, leaf in acknowledged:
        assert stored[seq] == leaf
    assert len({seq for seq, _ in acknowledged}) == len(acknowledged)
    return head


@pytest.mark.slow
def test_killed_writers_leave_a_linear_log(logs, tmp_path):
    database = logs.new(tmp_path)
    acknowledged = race(database, writers=8, appends=100, kills=8, seed=0)
    head = check(database, acknowledged)
    assert head.size > len(acknowledged) >= 8 * 100


@pytest.mark.slow
def test_killed_writers_leave_a_linear_log_at_length(logs, tmp_path):
    database = logs.new(tmp_path)
    acknowledged = race(database, writers=8, appends=1000, kills=40, seed=1)
    head = check(database, acknowledged)
    assert head.size > len(acknowledged) >= 8 * 1000


@pytest.mark.postgres
def test_a_killed_server_has_kept_what_it_acknowledged(own_postgres):
    database = own_postgres.url("postgres")
    create_log(database)
    chance, acknowledged, failures, ended = random.Random(2), [], [], threading.Event()

    def work(name):
        while not ended.is_set():
            try:
                with Log.open(database) as log:
                    while not ended.is_set():
                        stored = log.append("apply.started", run=name)
                        acknowledged.append((stored.event.seq, stored.leaf))
            except IntegrityError as error:
                failures.append(error)
                return
            except GovernError:
                # The server is down, or was just now.
                time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(f"writer-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        before = len(acknowledged)
        while len(acknowledged) < before + 20:
            time.sleep(0.01)
        time.sleep(chance.random() / 20)
        own_postgres.crash()
        own_postgres.start()
    ended.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    head = check(database, acknowledged)
    assert head.size > len(acknowledged) >= 100
    assert list(fsck(database)) == []
