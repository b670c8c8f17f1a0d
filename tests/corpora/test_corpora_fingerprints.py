"""Fingerprints find a subject in every spelling, and tell nobody without the salt whom they are about."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from govern.corpora import find_subjects, make_fingerprints
from govern.corpora.fingerprints import words_of
from govern.errors import UsageError
from govern.records import Fingerprints

SALT = bytes(range(32))
NAMES = st.text(alphabet="abcdefgh ÉéßñÅ'-", min_size=1, max_size=20).filter(words_of)


@pytest.mark.parametrize(
    "text",
    [
        "I met Maribel Núñez-Quast yesterday.",
        "MARIBEL NUNEZ QUAST",
        "mail maribel.nunez_quast@example.org",
        "file:dsr/maribel-nunez-quast.jsonl",
        "Maribel\nNúñez\N{NO-BREAK SPACE}Quast",
        "Maribel Nu\N{COMBINING TILDE}".replace("u\N{COMBINING TILDE}", "un\N{COMBINING TILDE}ez Quast"),
    ],
)
def test_a_subject_is_found_in_every_spelling(text: str) -> None:
    known = make_fingerprints(["Maribel Núñez Quast", "Somebody Else"], SALT)
    assert len(find_subjects(text, known, SALT)) == 1


@pytest.mark.parametrize(
    "text", ["Maribel Quast", "Nunez Quast Maribel", "Maribelnunezquast", "maribel nunez quastson", ""]
)
def test_other_words_are_not_the_subject(text: str) -> None:
    assert find_subjects(text, make_fingerprints(["Maribel Núñez Quast"], SALT), SALT) == frozenset()


def test_the_fingerprint_is_hmac_sha256() -> None:
    """RFC 2104, by another road: a reader who has the salt can check each one."""
    (found,) = make_fingerprints(["Ada  LOVELACE"], SALT).fingerprints
    assert found == hmac.digest(SALT, b"ada lovelace", "sha256").hex()


@given(names=st.lists(NAMES, min_size=1, max_size=4), around=NAMES)
def test_every_subject_is_found_in_text_that_holds_it(names: list[str], around: str) -> None:
    known = make_fingerprints(names, SALT)
    for name in names:
        assert find_subjects(f"{around}. {name}, {around}", known, SALT)
    assert find_subjects(" | ".join(names), known, SALT) == frozenset(known.fingerprints)


@given(name=NAMES, salt=st.binary(min_size=32, max_size=32))
def test_another_salt_shares_nothing_and_is_noticed(name: str, salt: bytes) -> None:
    assume(salt != SALT)
    known, other = make_fingerprints([name], SALT), make_fingerprints([name], salt)
    assert not {known.salt, *known.fingerprints} & {other.salt, *other.fingerprints}
    with pytest.raises(UsageError, match="not the salt"):
        find_subjects(name, known, salt)


@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_nothing_of_a_name_is_written_and_nothing_of_the_order(names: list[str]) -> None:
    known = make_fingerprints(names, SALT)
    assert known == make_fingerprints(reversed(names), SALT)
    # Neither the words nor their plain digests, which anybody could try names against.
    written = known.canonical()
    for name in names:
        plain = " ".join(words_of(name)).encode()
        assert sha256(plain).hexdigest().encode() not in written
    assert Fingerprints.parse(written) == known


def test_a_subject_without_words_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one word"):
        make_fingerprints(["Ada", "--"], SALT)
    with pytest.raises(UsageError, match="no subjects"):
        make_fingerprints([], SALT)
