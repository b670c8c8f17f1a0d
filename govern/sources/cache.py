"""The user's cache: what can be fetched or computed again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The folder named by GOVERN_CACHE, else the platform's cache folder for `govern`. Made where it is absent."""
    chosen = os.environ.get("GOVERN_CACHE")
    folder = Path(chosen).expanduser().absolute() if chosen else user_cache_path("govern")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
