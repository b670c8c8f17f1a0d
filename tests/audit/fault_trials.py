"""Append to copies of a log while failing_io.c makes one operation after the other fail; print what came of each.

Run by test_audit_faults.py with the library in LD_PRELOAD: fault_trials.py LIBRARY GOLDEN FOLDER STEP.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from govern.audit import Log, fsck
from govern.errors import GovernError, IntegrityError

ONCE, FROM_THEN_ON, TORN, KILLED = range(4)
KINDS = (
    ("full once", errno.ENOSPC, ONCE),
    ("full from then on", errno.ENOSPC, FROM_THEN_ON),
    ("broken once", errno.EIO, ONCE),
    ("broken from then on", errno.EIO, FROM_THEN_ON),
    ("torn", 0, TORN),
    ("killed", 0, KILLED),
)
APPENDS = 3


def write(database: Path, said: Path) -> None:
    """Append, writing down each acknowledgement and each refusal before anything else happens."""
    with said.open("a") as lines:

        def note(kind: str, text: str) -> None:
            lines.write(json.dumps([kind, text]) + "\n")
            lines.flush()

        try:
            with Log.open(database) as log:
                for seed in range(APPENDS):
                    try:
                        note("acknowledged", log.append("apply.started", seed=seed).leaf)
                    except GovernError as error:
                        note("damaged" if isinstance(error, IntegrityError) else "refused", str(error))
        except GovernError as error:
            note("damaged" if isinstance(error, IntegrityError) else "refused", str(error))
        except BaseException:
            note("fell over", traceback.format_exc())


def trial(library: ctypes.CDLL, golden: Path | None, folder: Path, n: int, error: int, how: int) -> dict[str, Any]:
    """What one failure did; `unreached` where there were fewer than `n` operations."""
    database, said = folder / "audit.db", folder.with_suffix(".said")
    folder.mkdir()
    if golden:
        shutil.copy(golden, database)
    pid = os.fork()
    if pid == 0:
        library.fault_arm(f"{folder}/".encode(), n, error, how, 512 * (n % 9))
        write(database, said)
        os._exit(0 if library.fault_seen() >= n else 1)
    _, status = os.waitpid(pid, 0)
    lines = [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
    found: dict[str, Any] = {
        "unreached": os.waitstatus_to_exitcode(status) == 1,
        "damage": [damage.what for damage in fsck(database)] if database.exists() else [],
        "leftovers": sorted(path.name for path in folder.iterdir() if not path.name.startswith("audit.db")),
        "killed": os.WIFSIGNALED(status),
    }
    for kind in ("refused", "damaged", "fell over"):
        found[kind] = [text for said_kind, text in lines if said_kind == kind]
    acknowledged = [text for kind, text in lines if kind == "acknowledged"]
    with Log.open(database) as log:
        kept = [stored.leaf for stored in log.events()]
        found["lost"] = [leaf for leaf in acknowledged if leaf not in kept]
        found["size"] = len(kept)
        log.append("apply.started")
        found["later"] = log.verify().size
    shutil.rmtree(folder)
    return found


def main() -> None:
    """Every kind of failure at every STEP-th operation, on a log that exists and on one that is being made."""
    library, golden, folder, step = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    for start in (golden, None):
        for first, (kind, error, how) in enumerate(KINDS):
            for n in range(1 + first % step, 1000, step):
                place = folder / f"{'old' if start else 'new'}-{kind.replace(' ', '-')}-{n}"
                found = trial(library, start, place, n, error, how)
                print(json.dumps({"log": "old" if start else "new", "kind": kind, "n": n, **found}), flush=True)
                if found["unreached"]:
                    break


if __name__ == "__main__":
    main()
