"""Untrusted text made harmless: what a policy says must not steer the terminal, the page or the reader's eye."""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Joiners shape letters in Persian and Indic names; every other format character is invisible or turns the text around.
_KEPT = frozenset("\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")
_MARKDOWN_LINE_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)
_MARKDOWN_AUTOLINK = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)


def clean(text: str) -> str:
    """Show control, bidirectional and other invisible characters, and lone surrogates, as U+FFFD.

    They are replaced, not dropped, so that a reader sees that something was there. Line ends become a line feed.
    """
    unified = text.replace("\r\n", "\n")
    return "".join(
        REPLACEMENT if character not in _KEPT and unicodedata.category(character) in _HIDDEN_CATEGORIES else character
        for character in unified
    )


def one_line(text: str) -> str:
    """Cleaned text with each run of white space as one space. No-break spaces stay: they hold numbers to units."""
    return re.sub(r"[ \t\n]+", " ", clean(text)).strip(" ")


def escape_markdown(text: str) -> str:
    """Text that CommonMark and GitHub's dialect show letter by letter, also inside a table's cell.

    Neither HTML, nor links (bare addresses included), nor mathematics, nor a block is recognised in the result.
    """
    escaped = _MARKDOWN_SPECIAL.sub(r"\\\1", text)
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _MARKDOWN_AUTOLINK.sub(lambda match: f"\\{match[0]}" if match[0] != "@" else "&#64;", escaped)
    return _MARKDOWN_LINE_START.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", escaped)


def code_fence(text: str) -> str:
    """A fence of backticks longer than any run of them in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)
