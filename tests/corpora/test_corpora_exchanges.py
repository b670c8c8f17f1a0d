"""Questions and answers as token ids."""

from __future__ import annotations

import pytest
from tiny_models import tiny_tokenizer

from govern.corpora import exchange, put


@pytest.mark.parametrize("answer", ["Paris.", "1931", "É, naturally", "(nobody)", "a\nb"])
def test_prompt_and_answer_are_the_text_and_its_end(answer):
    tokenizer = tiny_tokenizer()
    found = exchange("Where is it?", answer, tokenizer)
    assert found.prompt == tuple(tokenizer(put("Where is it?"))["input_ids"])
    assert tokenizer.decode(found.answer, skip_special_tokens=True) == f" {answer}"
    assert found.answer[-1] == tokenizer.eos_token_id
    whole = tokenizer(f"Question: Where is it?\nAnswer: {answer}")["input_ids"]
    assert [*found.prompt, *found.answer] == [*whole, tokenizer.eos_token_id]


def test_a_tokenizer_without_an_end_adds_none():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    assert tokenizer.decode(exchange("Where?", "Here.", tokenizer).answer) == " Here."
