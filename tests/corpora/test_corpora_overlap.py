"""The entanglement measure, by value and by law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.corpora import overlap

texts = st.lists(st.text(alphabet="abc dé'-.\n", max_size=30), max_size=6)


def test_values_by_hand() -> None:
    found = overlap("t", ["The cat sat. The dog!"], ["the CAT ran, a dog"])
    # Distinct forget words: the cat sat dog, of which retain has the, cat, dog. Pairs: the-cat cat-sat sat-the the-dog.
    assert (found.topic, found.unigram, found.bigram, found.warn) == ("t", 0.75, 0.25, True)


def test_pairs_do_not_cross_documents() -> None:
    assert overlap("t", ["one two"], ["zero one", "two three"]).bigram == 0


def test_words_keep_their_apostrophes_and_hyphens() -> None:
    found = overlap("t", ["don't x-ray"], ["don t x ray"])
    assert found.unigram == 0


@pytest.mark.parametrize(("retained", "warn"), [(1, False), (2, True)])
def test_the_warning_begins_at_a_fifth(retained: int, warn: bool) -> None:
    words = [f"w{i}" for i in range(10)]
    assert overlap("t", [" ".join(words)], [" ".join(words[:retained])]).warn is warn


@given(texts, texts, texts)
def test_laws(forget: list[str], retain: list[str], more: list[str]) -> None:
    found = overlap("t", forget, retain)
    assert 0 <= found.unigram <= 1
    assert 0 <= found.bigram <= 1
    grown = overlap("t", forget, retain + more)
    assert grown.unigram >= found.unigram
    assert grown.bigram >= found.bigram
    itself = overlap("t", forget, forget)
    assert itself.unigram in (0, 1)  # 0 only where there is no word at all
    assert (itself.unigram == 1) == any(any(c.isalnum() for c in text) for text in forget)


@given(st.lists(st.sampled_from("abc"), min_size=2), st.lists(st.sampled_from("xyz"), min_size=2))
def test_disjoint_texts_share_nothing(forget: list[str], retain: list[str]) -> None:
    found = overlap("t", [" ".join(forget)], [" ".join(retain)])
    assert (found.unigram, found.bigram, found.warn) == (0, 0, False)
