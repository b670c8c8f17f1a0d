"""Questions with their answers as token ids: the prompt that is given, and the answer that is learnt or scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from govern.corpora.tokenizing import encode_choices

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Exchange:
    """A question as it is put to a model, and an answer to it, which ends with the end of text where there is one."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def put(question: str) -> str:
    """A question as it is put to a model: TOFU's form for models without a chat of their own."""
    return f"Question: {question}\nAnswer:"


def exchange(question: str, answer: str, tokenizer: PreTrainedTokenizerBase) -> Exchange:
    """A question and an answer as token ids.

    The two are tokenised together, as a model would write them; where a token spans the seam it is the answer's.
    """
    [(prompt, learnt)] = encode_choices(put(question), [f" {answer}"], tokenizer)
    end = tokenizer.eos_token_id
    if end is not None and learnt[-1] != end:
        learnt = [*learnt, end]
    return Exchange(tuple(prompt), tuple(learnt))
