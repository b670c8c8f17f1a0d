"""`govern audit serve-witness`: cosignatures over HTTP (c2sp.org/tlog-witness), out of the memory that `cosign` has.

A checkpoint is an event of the witness's own log, on the disk, before it is cosigned. So who is killed at any moment
has signed nothing that it forgets.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from govern import limits
from govern.audit import (
    Checkpoint,
    Cosigner,
    CosigningRequest,
    Log,
    LogVerifier,
    cosign,
    open_checkpoint,
    parse_request,
)
from govern.audit.cosignature import signed_by
from govern.audit.merkle import EMPTY_ROOT, verify_consistency
from govern.errors import IntegrityError, UsageError
from govern.signing import LogKey
from govern.workflow.log.cosigning import (
    cosigned_logs,
    known_checkpoint,
    record,
    refuse_unknown_key,
    show,
    shown_folder,
)
from govern.workflow.log.follow import read_folder
from govern.workflow.log.server import Reply, not_found
from govern.workspace import Workspace

_SHOWN = re.compile(r"[0-9a-f]{64}/checkpoint")


class WitnessService:
    """A witness of the logs that `verifiers` sign for, each known by one key. Close it, or use it in a `with`."""

    def __init__(self, workspace: Path, key: LogKey, verifiers: Sequence[LogVerifier]) -> None:
        """Check the witness's own log. Raises IntegrityError where it does not hold or knows a log by another key.

        Raises UsageError where it does not name `key`, or two of `verifiers` are of one log.
        """
        self._place = Workspace.open(workspace)
        self._key = key
        self._verifiers = {verifier.name: verifier for verifier in verifiers}
        if len(self._verifiers) < len(verifiers):
            raise UsageError("two keys are of one log", where="--log-key", hint="A witness knows a log by one key.")
        self._log = Log.open(self._place.database, create=False, trust=self._place.trust)
        self.cosigner = Cosigner(self._log.verify().origin, key.public)
        refuse_unknown_key(self._log, self.cosigner)
        self._one = threading.Lock()
        self._leaf, self._logs = self._log.position().leaf, cosigned_logs(self._log)
        for verifier in verifiers:
            known_checkpoint(self._logs, verifier)

    def close(self) -> None:
        """Release the log."""
        self._log.close()

    def get(self, path: str) -> Reply:
        """The newest checkpoint of a log, as it was cosigned here: `SHA-256 OF THE ORIGIN/checkpoint`."""
        note = read_folder(shown_folder(self._place))(path, limits.NOTE_BYTES) if _SHOWN.fullmatch(path) else None
        return not_found() if note is None else Reply(200, note)

    def post(self, path: str, body: bytes) -> Reply:
        """`add-checkpoint`. Raises GovernError or OSError where this cannot be remembered; nothing is signed then."""
        if path != "add-checkpoint":
            return not_found()
        try:
            asked = parse_request(body)
        except IntegrityError as error:
            return _refused(400, error.message)
        verifier = self._verifiers.get(asked.note.partition(b"\n")[0].decode("utf-8", "replace"))
        if verifier is None:
            return _refused(404, "this log is not known here")
        try:
            checkpoint = open_checkpoint(asked.note, verifier)
        except IntegrityError as error:
            return _refused(403, error.message)
        if asked.old > checkpoint.size:
            return _refused(400, "the old size is above the checkpoint's")
        # One at a time, in this process and among all: what is compared here is still the newest when it is replaced.
        with self._one, FileLock(self._place.root / ".cosign.lock"):
            return self._cosigned(asked, checkpoint, verifier)

    def _cosigned(self, asked: CosigningRequest, checkpoint: Checkpoint, verifier: LogVerifier) -> Reply:
        known = self._known(verifier)
        size = known.size if known else 0
        if asked.old != size:
            return Reply(409, f"{size}\n".encode(), "text/x.tlog.size")
        try:
            if known:
                verify_consistency(known.size, checkpoint.size, known.root, checkpoint.root, asked.hashes)
            elif asked.hashes or (checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT):
                raise IntegrityError("nothing is known of this log, and the request is not one for a beginning")
        except IntegrityError as error:
            return _refused(422, error.message)
        if checkpoint.size and checkpoint != known:
            self._leaf, self._logs[verifier.name] = record(self._log, checkpoint, asked.note, verifier)
        line = cosign(checkpoint, self.cosigner, int(time.time()), self._key.sign)
        show(self._place, checkpoint, signed_by(asked.note, verifier) + line)
        return Reply(200, line)

    def _known(self, verifier: LogVerifier) -> Checkpoint | None:
        leaf = self._log.position().leaf
        if leaf != self._leaf:  # another process wrote to the log
            self._leaf, self._logs = leaf, cosigned_logs(self._log)
        return known_checkpoint(self._logs, verifier)


def _refused(status: int, why: str) -> Reply:
    return Reply(status, f"{why}\n".encode("utf-8", "replace"))
