"""Nothing half-written: a temporary name, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from govern.errors import UsageError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` so that `path` holds either its old content or all of the new, also after a power cut.

    Into a device or a pipe it is written as it is: a rename would put a file in the place of /dev/null.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_bytes(data)
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_atomic(temporary: Path, path: Path) -> None:
    """Put a finished file or folder, written beside `path` by somebody else, in its place and sync the folder."""
    if temporary.is_file():
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Write what a user asked for where the user wants it. Raises UsageError where that cannot be done."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{what} cannot be written: {error.strerror}", where=str(error.filename or path)) from None


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
