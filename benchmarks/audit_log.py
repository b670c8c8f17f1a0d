"""The audit log at size: proofs, full verification, and appends beside a bare insert of the same durability.

    python benchmarks/audit_log.py                    # 1,000,000 events, made in bulk
    python benchmarks/audit_log.py --events 100000

Targets: an inclusion proof under 50 ms, full verification under 60 s for a million events, and at least half the rate
of a bare SQLite insert with WAL, synchronous FULL and one transaction for each row, measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from govern.audit import Log, parse_event
from govern.audit.body import leaf_hash
from govern.audit.merkle import Frontier, verify_consistency, verify_inclusion

_APPENDS = 300


def fill(database: Path, events: int) -> None:
    """Add events in one transaction, as `Log.append` would have one by one."""
    with Log.open(database) as log:
        template = log.append(
            "apply.started",
            run="20260101-000000-bulk-0000",
            policy_digest="a" * 64,
            parameters={"method": "srmu", "layer": 7, "steps": 60},
            environment={"python": "3.11", "platform": "Linux", "packages": {"torch": "2.13.0"}},
        )
        first = log.event(0)
    frontier = Frontier()
    frontier.append(bytes.fromhex(first.leaf))
    rows, nodes, leaf = [], [], first.leaf
    frontier.append(bytes.fromhex(template.leaf))
    leaf = template.leaf
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for seq in range(2, events):
            body = template.body.replace(template.prev.encode(), leaf.encode()).replace(b'"seq":1,', b'"seq":%d,' % seq)
            prev, leaf = leaf, leaf_hash(body)
            rows.append((seq, bytes.fromhex(prev), bytes.fromhex(leaf), body))
            for level, found in enumerate(frontier.append(bytes.fromhex(leaf)), 1):
                nodes.append((frontier.size, level, found))
            if len(rows) == 10_000 or seq == events - 1:
                connection.executemany("INSERT INTO event (seq, prev, leaf, body) VALUES (?, ?, ?, ?)", rows)
                connection.executemany("INSERT INTO node (size, level, hash) VALUES (?, ?, ?)", nodes)
                rows.clear()
                nodes.clear()
        connection.execute("COMMIT")
    parse_event(body)


def proofs(log: Log, events: int) -> tuple[list[float], list[float]]:
    """Milliseconds of inclusion and consistency proofs at random places, each of them checked."""
    chance = random.Random(0)
    head = log.tree_head()
    inclusion, consistency = [], []
    for _ in range(200):
        seq = chance.randrange(events)
        leaf = bytes.fromhex(log.event(seq).leaf)
        start = time.perf_counter()
        proof = log.prove_inclusion(seq, events)
        inclusion.append(1000 * (time.perf_counter() - start))
        verify_inclusion(leaf, seq, events, proof, head.root)
        size = chance.randrange(1, events)
        earlier = log.tree_head(size)
        start = time.perf_counter()
        proof = log.prove_consistency(size, events)
        consistency.append(1000 * (time.perf_counter() - start))
        verify_consistency(size, events, earlier.root, head.root, proof)
    return inclusion, consistency


def bare_rate(database: Path, body: bytes) -> float:
    """Rows a second of a bare insert: one table, one transaction for each row, WAL and synchronous FULL."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bare (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        start = time.perf_counter()
        for _ in range(_APPENDS):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO bare (body) VALUES (?)", (body,))
            connection.execute("COMMIT")
        return _APPENDS / (time.perf_counter() - start)


def append_rate(log: Log) -> float:
    """Events a second of `Log.append`."""
    start = time.perf_counter()
    for _ in range(_APPENDS):
        log.append("apply.started", run="20260101-000000-bulk-0000", parameters={"method": "srmu"})
    return _APPENDS / (time.perf_counter() - start)


def main() -> None:
    """Make the log, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "audit.db"
        start = time.perf_counter()
        fill(database, events)
        print(f"{platform.platform(terse=True)}, load {os.getloadavg()[0]:.1f}")
        size = database.stat().st_size / 2**20
        print(f"{events:,} events, {size:.0f} MiB, made in {time.perf_counter() - start:.0f} s")
        with Log.open(database, create=False) as log:
            inclusion, consistency = proofs(log, events)
            for name, taken in (("inclusion proof", inclusion), ("consistency proof", consistency)):
                print(f"{name}: median {statistics.median(taken):.1f} ms, longest {max(taken):.1f} ms")
            start, busy = time.perf_counter(), time.process_time()
            log.verify()
            print(
                f"full verification: {time.perf_counter() - start:.1f} s, "
                f"{time.process_time() - busy:.1f} s of them on the processor"
            )
            # In turn, since a disk has moods.
            rates = [
                (append_rate(log), bare_rate(Path(folder) / f"bare{turn}.db", log.event(1).body)) for turn in range(7)
            ]
        ours, bare = (statistics.median(column) for column in zip(*rates, strict=True))
        share = statistics.median(one / other for one, other in rates)
        print(
            f"appends: {ours:.0f} a second, a bare insert {bare:.0f}; {share:.2f} of it, median of {len(rates)} pairs"
        )


if __name__ == "__main__":
    main()
