"""`govern init`: a folder to work in, with policies, templates and a place for the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from govern.shipped import shipped
from govern.workspace import write_atomic, writing

_IGNORED: Final = "# The log, runs and private keys are no matter for a repository.\n/audits/\n/site/\n"


@dataclass(frozen=True)
class Laid:
    """A folder to work in: what was written, and what was there before and stayed."""

    folder: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def init(folder: Path) -> Laid:
    """Lay policies and templates in `folder`, which may exist; a file that exists is never touched.

    The shipped templates go to `templates/shipped`, to copy from: only what lies in `templates` itself stands in for a
    shipped one, so that all others follow new versions. Raises UsageError where the folder cannot be written.
    """
    written: list[Path] = []
    kept: list[Path] = []
    with writing("a folder to work in", folder):
        for path, data in _files(folder):
            if path.exists() or path.is_symlink():
                kept.append(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
            written.append(path)
        for name in ("audits", "templates/sections"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    return Laid(folder, tuple(written), tuple(kept))


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    yield folder / ".gitignore", _IGNORED.encode()
    for name, data in _shipped_files(shipped("policies")):
        yield folder / "policies" / name, data
    for name, data in _shipped_files(shipped("templates")):
        yield folder / "templates" / (name if name == "README.md" else f"shipped/{name}"), data


def _shipped_files(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path.read_bytes()
