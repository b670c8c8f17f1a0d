"""`govern audit export` and `check-export`: the whole log as text, for somebody who wants to recompute all of it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from govern.audit import Checkpoint, Head, Log, LogVerifier, format_line, read_export
from govern.errors import UsageError, at
from govern.workflow.log.checkpoints import read_series, refuse_existing
from govern.workspace import Workspace
from govern.workspace.atomic import replace_atomic


@dataclass(frozen=True)
class CheckedExport:
    """An exported log that holds, and the newest checkpoint that it goes on from, where one was named."""

    head: Head
    against: Checkpoint | None


def export_log(workspace: Path, out: Path) -> Head:
    """Check the whole log and write its events, one a line, to the new file `out`.

    Raises UsageError where the file exists or cannot be written, IntegrityError where the log does not hold.
    """
    refuse_existing(out)
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"it cannot be written: {error.strerror}", where=str(out)) from None
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            head = stream_log(workspace, stream)
        replace_atomic(temporary, out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return head


def stream_log(workspace: Path, stream: BinaryIO) -> Head:
    """Check the whole log and write its events, one a line. Raises IntegrityError where the log does not hold."""
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        head = log.verify()
        for stored in log.events():
            # What was appended since is not what was checked.
            if stored.event.seq == head.size:
                break
            stream.write(format_line(stored))
    return head


def check_export(path: Path, *, against: Path | None = None, verifier: LogVerifier | None = None) -> CheckedExport:
    """Recompute an exported log, and hold it against the checkpoints in a file that was kept elsewhere.

    Needs no database, no workspace and no network. Raises UsageError where `against` comes without the log's key,
    IntegrityError naming the file and the line that is not what it must be.
    """
    if against is not None and verifier is None:
        raise UsageError(
            "a checkpoint is checked with the log's key",
            where=str(against),
            hint="Name it with --log-key; it is the log.vkey that you were given.",
        )
    series = [kept.checkpoint for kept in read_series(against, [verifier])] if against and verifier else []
    try:
        with path.open("rb") as stream, at(path):
            head = read_export(stream, against=series)
    except OSError as error:
        raise UsageError(f"it cannot be read: {error.strerror}", where=str(path)) from None
    return CheckedExport(head, series[-1] if series else None)
