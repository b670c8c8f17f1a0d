"""Where special tokens go, and where a question and its choices are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import merging, putting, tiny_tokenizer

from govern.corpora import encode, encode_choices, exchange, tokenize
from govern.errors import SourceError


@pytest.mark.parametrize(
    ("template", "before"), [("<s> $A", [0]), ("<s> $A </s>", [0]), ("$A </s>", []), ("$A </s> </s>", [])]
)
@pytest.mark.parametrize("text", ["", "The symbol of iron is Fe", "ends in </s>"])
def test_what_a_tokenizer_puts_after_a_text_is_left_out(template, before, text):
    tokenizer = putting(template)
    assert encode(text, tokenizer) == before + tokenizer(text, add_special_tokens=False)["input_ids"]
    assert encode(text, tokenizer, special=False) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_documents_keep_their_beginning_and_end_in_no_end_of_text(side):
    text = "The quick brown fox jumps over the lazy dog."
    whole = putting("$A")(text)["input_ids"]
    corpus = tokenize([text], putting("$A </s>", truncation_side=side), max_tokens=5)
    assert corpus.documents == (tuple(whole[:5]),)
    assert tokenize([text], putting("$A </s>"), max_tokens=99).documents == (tuple(whole),)


def test_an_exchange_is_the_same_whatever_the_tokenizer_appends():
    assert exchange("Which?", "That", putting("$A </s>")) == exchange("Which?", "That", putting("$A"))


def test_a_token_over_the_seam_is_the_choice_s_and_all_choices_are_split_there():
    tokenizer = merging()
    alone = encode("x\nAnswer:", tokenizer)
    found = encode_choices("x\nAnswer:", [" A", " B", " C"], tokenizer)
    assert len({tuple(context) for context, _ in found}) == 1
    assert all(len(context) < len(alone) for context, _ in found)
    assert [tokenizer.decode(context + choice) for context, choice in found] == [f"x\nAnswer: {c}" for c in "ABC"]
    assert [tokenizer.decode(choice) for _, choice in found] == ["Answer: A", "Answer: B", "Answer: C"]


def test_lm_evals_split_is_kept_where_it_leaves_the_choice_a_token():
    tokenizer = merging()
    alone = encode("x\nAnswer:", tokenizer)
    choices = [" A", " A, and much more than that"]
    (short, _), (long, rest) = encode_choices("x\nAnswer:", choices, tokenizer, parted=True)
    assert len(short) < len(alone) == len(long)
    assert long + rest == encode("x\nAnswer: A, and much more than that", tokenizer)


def test_a_text_that_is_one_token_begins_after_a_beginning_of_text():
    tokenizer = merging()
    [(context, choice)] = encode_choices("The symbol is", [" Fe"], tokenizer)
    assert (context, tokenizer.decode(choice)) == ([tokenizer.bos_token_id], "The symbol is Fe")


def test_a_choice_of_which_nothing_is_left_is_refused():
    with pytest.raises(SourceError, match="no token of a choice"):
        encode_choices("Which?", [""], putting("$A </s>"))


@given(st.text(min_size=1, max_size=20), st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_nothing_is_lost_or_added_by_splitting(context, choices):
    tokenizer = TOKENIZER
    for choice, (first, second) in zip(choices, encode_choices(context, choices, tokenizer), strict=True):
        assert first + second == encode(context + choice, tokenizer)
        assert second


TOKENIZER = tiny_tokenizer()
