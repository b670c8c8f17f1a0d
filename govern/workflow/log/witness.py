"""`govern audit witness`: checkpoints in a file that the log's holder does not control."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Checkpoint, Log, LogVerifier, open_checkpoint
from govern.errors import UsageError, at
from govern.workflow.log.checkpoints import log_verifiers, newest, read_series, write
from govern.workspace import Workspace


@dataclass(frozen=True)
class Witnessed:
    """A witness's file: its newest checkpoint, how many it holds, and whether one was added."""

    path: Path
    newest: Checkpoint
    count: int
    added: bool


def witness(workspace: Path, path: Path, *, verifier: LogVerifier | None = None) -> Witnessed:
    """Add the log's newest checkpoint to the witness's file at `path`, which is made where it is missing.

    Every checkpoint in the file is held against the log before, and the key must be the one that signed them, or
    `verifier`, as the witness knows it. Raises IntegrityError where the log does not go on from one of them or another
    key signed, and UsageError where there is no checkpoint or the newest is older than the file's.
    """
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        tree = log.tree_head()
        series = read_series(path, [verifier] if verifier else log_verifiers(log)) if path.exists() else []
        for known in series:
            with at(path):
                log.check_prefix(tree, known.checkpoint)
        kept = newest(place, log)
    with at(kept.path):
        open_checkpoint(kept.note, verifier or (series[-1] if series else kept).verifier)
    if series and series[-1].checkpoint == kept.checkpoint:
        return Witnessed(path, kept.checkpoint, len(series), added=False)
    if series and series[-1].checkpoint.size > kept.checkpoint.size:
        raise UsageError(
            f"the witness knows {series[-1].checkpoint.size} events and the workspace's newest checkpoint "
            f"{kept.checkpoint.size}; a witness never goes backwards",
            where=str(path),
            hint="Sign a new one: govern audit checkpoint",
        )
    # Through a link, so that the file stays on the medium that is kept elsewhere.
    write(path.resolve(), b"".join(known.note for known in (*series, kept)))
    return Witnessed(path, kept.checkpoint, len(series) + 1, added=True)
