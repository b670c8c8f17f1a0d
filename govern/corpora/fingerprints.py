"""Salted fingerprints of subjects, and finding subjects in text by them. The names themselves stay with their owner."""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Iterable
from hashlib import sha256

from govern.errors import UsageError
from govern.records import Fingerprints

_WORD = re.compile(r"[^\W_]+")

# What the salt's own fingerprint is made over: no subject has such words.
_SALT_ITSELF = "\0salt"


def words_of(text: str) -> list[str]:
    """A text's words in one spelling: letters and digits alone, without case, accents and ligatures.

    Names in file names and addresses are found as well, since everything else separates words.
    """
    plain = unicodedata.normalize("NFKD", text)
    return _WORD.findall("".join(character for character in plain if not unicodedata.combining(character)).casefold())


def make_fingerprints(subjects: Iterable[str], salt: bytes) -> Fingerprints:
    """The fingerprints of subjects, such as names or passages. Raises UsageError for one without words, or for none."""
    spelt = [words_of(subject) for subject in subjects]
    for number, words in enumerate(spelt, start=1):
        if not words:
            raise UsageError("a subject needs at least one word", where=f"subject {number}")
    if not spelt:
        raise UsageError("there are no subjects", hint="Write one on each line.")
    return Fingerprints(
        salt=_fingerprint([_SALT_ITSELF], salt),
        words=tuple(sorted({len(words) for words in spelt})),
        fingerprints=tuple(sorted({_fingerprint(words, salt) for words in spelt})),
    )


def find_subjects(text: str, known: Fingerprints, salt: bytes) -> frozenset[str]:
    """The fingerprints of the subjects that occur in a text, as whole words. Raises UsageError for another salt."""
    if _fingerprint([_SALT_ITSELF], salt) != known.salt:
        raise UsageError("this is not the salt that the fingerprints were made with")
    words = words_of(text)
    windows = {
        tuple(words[start : start + length]) for length in known.words for start in range(len(words) - length + 1)
    }
    return frozenset(_fingerprint(window, salt) for window in windows) & frozenset(known.fingerprints)


def _fingerprint(words: Iterable[str], salt: bytes) -> str:
    return hmac.new(salt, " ".join(words).encode(), sha256).hexdigest()
