"""Text from outside, made fit to stand inside one of our own lines."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 300
"""Characters that are shown of one piece of text, by default."""


def shown(text: str, longest: int = LONGEST) -> str:
    """The text on one line, where a line break and whatever cannot be printed is an escape, cut where it is long.

    It can neither begin a line of its own, nor steer a terminal, nor turn around the letters beside it.
    """
    cut = text[:longest]
    line = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )
    return line if len(text) <= longest else f"{line}…"
