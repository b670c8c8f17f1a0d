"""Questions that are longer than a model's context lose their beginning, and with it perhaps what is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from govern.corpora import encode_choices
from govern.errors import UsageError
from govern.evaluation.questions import Question, as_asked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from govern.evaluation.answers import TaskKind

MOST_CUT = 0.05
"""The share of a set's questions that may lose their beginning. Above it nothing is said of the set."""


def refuse_cut(name: str, cut: int, n: int) -> None:
    """Raise UsageError where more of a set's `n` questions lose their beginning than `MOST_CUT`."""
    if cut > MOST_CUT * n:
        raise UsageError(
            f"{cut} of the {n} questions of {name} are longer than the model's context and would lose their beginning",
            where=f"task {name}",
            hint=f"Shorten them. Up to {MOST_CUT:.0%} of a set may be too long, and the report counts them.",
        )


def too_long(questions: Iterable[Question], kind: TaskKind, tokenizer: PreTrainedTokenizerBase, *, context: int) -> int:
    """How many questions, with their longest choice, are longer than a `context` of so many tokens."""
    count = 0
    for question in questions:
        prompt, options = as_asked(kind, question)
        pairs = encode_choices(prompt, [f" {option}" for option in options], tokenizer)
        # the last token is only predicted
        count += max(len(before) + len(choice) - 1 for before, choice in pairs) > context
    return count


def context_length(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens a model reads at once, as lm-eval finds it: by its configuration, or else its tokenizer's."""
    text = config.get_text_config()
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if isinstance(length := getattr(text, name, None), int):
            return length
    return tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else 2048
