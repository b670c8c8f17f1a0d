"""A workspace with a log of a few events and its key, and ways to add to it and to cut it."""

from __future__ import annotations

from pathlib import Path

from unguarded import unguarded

from govern.audit import Log, LogVerifier, parse_vkey
from govern.signing import LogKey, load_log_key
from govern.workflow.people.keys import log_key_path, verifier_path

PASSWORD = b"password"


def grow(workspace: Path, count: int = 5) -> None:
    with Log.open(workspace / "audit.db") as log:
        for _ in range(count):
            log.append("export.finished", parameters={"folder": "“ü”"})


def key_of(workspace: Path) -> LogKey:
    return load_log_key(log_key_path(workspace), PASSWORD)


def verifier_of(workspace: Path) -> LogVerifier:
    return parse_vkey(verifier_path(log_key_path(workspace)).read_text().strip())


def cut(workspace: Path, size: int) -> None:
    """Cut events off the end, and everything in the database that would tell."""
    with unguarded(workspace / "audit.db") as connection:
        connection.execute("DELETE FROM event WHERE seq >= ?", (size,))
        connection.execute("DELETE FROM node WHERE size > ?", (size,))
