"""File systems that are full."""

from __future__ import annotations

import os
from pathlib import Path


def fill(folder: Path, left: int) -> Path:
    """Leave only some bytes of a file system."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    ballast.write_bytes(b"x" * max(0, room.f_bavail * room.f_bsize - left))
    return ballast
