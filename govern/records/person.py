"""Persons' names, and when two of them are one person's.

Two names are one person's where a reader could take one for the other: they are compared by their skeletons, as UTS 39
(section 4) describes, with the Unicode Consortium's table of confusable characters. What cannot be seen at all has no
place in a name.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

# Letters and marks that show nothing (Default_Ignorable_Code_Point, which the standard library does not know, less what
# `str.isprintable` refuses), and a blank that counts as a picture.
_UNSEEN: Final = frozenset(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
    ]
)


def one_line(text: str) -> str:
    """Text for one line, all of which can be seen. Raises ValueError."""
    if not text.isprintable() or text != text.strip():
        raise ValueError("this is not one line of printable text")
    if any(ord(character) in _UNSEEN for character in text):
        raise ValueError("this holds an invisible character")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=120), AfterValidator(one_line)]


def same_person(one: str, other: str) -> bool:
    """Whether two names could be taken for one: by their looks, by their letters, or by both."""
    return not _skeletons(one).isdisjoint(_skeletons(other))


def _skeletons(name: str) -> frozenset[str]:
    """How a name looks as it is written, and in small letters; spaces count once."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    return frozenset({_skeleton(plain), _skeleton(plain.casefold())})


def _skeleton(text: str) -> str:
    """UTS 39's skeleton: what all texts that look alike have in common."""
    table = _confusable()
    looks = "".join(table.get(character, character) for character in unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFD", looks)


@cache
def _confusable() -> dict[str, str]:
    """Each confusable character with the one text that stands for all that look like it."""
    from confusable_homoglyphs.confusables import confusables_data

    groups: dict[str, set[str]] = {}
    for character, alike in confusables_data.items():
        # Hebrew and Arabic letters come between marks of direction.
        texts = {text.strip("\u200e") for text in (character, *(entry["c"] for entry in alike))}
        joined = texts.union(*(groups.get(text, ()) for text in texts))
        groups.update(dict.fromkeys(joined, joined))
    # Where several letters, such as rn for m, look like one, they stand for it; else the first in Unicode's order.
    stands = {text: min(group, key=lambda each: (-len(each), each)) for text, group in groups.items()}
    return {
        character: "".join(stands.get(letter, letter) for letter in text) if len(text) > 1 else text
        for character, text in stands.items()
        if len(character) == 1
    }
