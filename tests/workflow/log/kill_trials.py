"""A witness and a publication, killed at each operation on a file in turn; print what came of each.

Run by test_workflow_kill_trials.py with failing_io.c in LD_PRELOAD: kill_trials.py LIBRARY FOLDER, where FOLDER has the
workspaces `theirs` (a witness's, its key's password is "password") and `audits`, its public key `vkey`, and requests
for cosignatures in `requests`, each made after the one before was answered.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from govern.audit import Log, parse_vkey
from govern.signing import load_log_key
from govern.workflow.log.cosigning import cosigned_logs
from govern.workflow.log.follow import follow
from govern.workflow.log.publish import publish
from govern.workflow.log.witness_service import WitnessService
from govern.workflow.people.keys import cosigner_key_path

KILLED = 3


def main() -> None:
    library, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])
    verifier = parse_vkey((folder / "vkey").read_text().strip())
    key = load_log_key(cosigner_key_path(folder / "theirs"), b"password")
    requests = [path.read_bytes() for path in sorted((folder / "requests").iterdir())]

    def cosign(place: Path, said: Path) -> None:
        with closing(WitnessService(place / "theirs", key, [verifier])) as service:
            for body in requests:
                reply = service.post("add-checkpoint", body)
                with said.open("a") as lines:
                    lines.write(f"{reply.status}\n")

    def hand_out(place: Path, said: Path) -> None:
        said.write_text(f"{publish(place / 'audits', place / 'out').checkpoint.size}\n")

    def after_cosigning(place: Path, told: list[str]) -> dict[str, Any]:
        with Log.read(place / "theirs" / "audit.db") as log:
            log.verify()
            known = cosigned_logs(log).get(verifier.name)
        again = place.with_suffix(".again")
        cosign(place, again)
        # From where it was killed, the same requests lead to the end: what it knows already is a conflict.
        return {"answered": told, "known": known.size if known else 0, "again": again.read_text().split()}

    def after_handing_out(place: Path, told: list[str]) -> dict[str, Any]:
        whole = (place / "out" / "checkpoint").exists()
        sizes = []
        for _ in range(2):
            if (place / "out" / "checkpoint").exists():
                with follow(str(place / "out"), place / "seen", verifier=verifier, models=["ab" * 32]) as found:
                    sizes.append(found.checkpoint.size)
            publish(place / "audits", place / "out")
        return {"answered": told, "whole": whole, "sizes": sizes}

    for name, do, after in (("cosign", cosign, after_cosigning), ("publish", hand_out, after_handing_out)):
        for n in range(1, 1000):
            found = trial(library, folder, folder / f"{name}-{n}", n, do, after)
            print(json.dumps({"what": name, "n": n, **found}), flush=True)
            if found["unreached"]:
                break


def trial(
    library: ctypes.CDLL,
    golden: Path,
    place: Path,
    n: int,
    do: Callable[[Path, Path], None],
    after: Callable[[Path, list[str]], dict[str, Any]],
) -> dict[str, Any]:
    for workspace in ("theirs", "audits"):
        shutil.copytree(golden / workspace, place / workspace)
    said = place.with_suffix(".said")
    pid = os.fork()
    if pid == 0:
        library.fault_arm(f"{place}/".encode(), n, 0, KILLED, 0)
        do(place, said)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    told = said.read_text().split() if said.exists() else []
    found = {"unreached": os.waitstatus_to_exitcode(status) == 0, "code": os.waitstatus_to_exitcode(status)}
    found |= after(place, told)
    shutil.rmtree(place)
    return found


if __name__ == "__main__":
    main()
