"""`govern audit move`: the log into a PostgreSQL database, when a file no longer serves everybody who writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Head, move_log
from govern.errors import UsageError
from govern.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class Moved:
    """A log, and the URL at which it now is."""

    head: Head
    url: str


def move(workspace: Path, url: str) -> Moved:
    """Move the workspace's log to the database at `url`, or begin one there, and write that down in `log.url`.

    Raises UsageError where the log is in a database already, or `url` holds a password or another log.
    """
    place = Workspace.open(workspace)
    if not isinstance(place.database, Path):
        raise UsageError(
            "the log is in a PostgreSQL database already",
            where=place.database,
            hint=f"Where the server has another name now, write that into {place.log_url}.",
        )
    head = move_log(place.database, url)
    # Last: until here every command keeps to the file, which takes no more events once it was copied.
    write_atomic(place.log_url, f"{url}\n".encode())
    return Moved(head, url)
