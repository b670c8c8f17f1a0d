"""The policies and templates that travel with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent


def shipped(kind: Literal["policies", "templates"]) -> Path:
    """The folder of shipped policies or templates: inside an installed wheel, or beside the package in a checkout."""
    installed = _PACKAGE / "_shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
