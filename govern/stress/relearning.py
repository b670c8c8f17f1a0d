"""Relearning: removed knowledge may come back after a little fine-tuning on something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern.corpora import TokenCorpus, tokenize
from govern.errors import GovernError
from govern.evaluation.questions import Question
from govern.progress import Progress
from govern.stress.attack import WHERE, Attempt, Effort, Target
from govern.stress.exam import Exam
from govern.stress.tuning import Tuning, shuffled

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_TOKENS = 256


class Relearning(Tuning):
    """Fine-tune on a few documents and ask again (Łucki et al. 2024, arXiv 2409.18025; Hu et al. 2024, 2406.13356)."""

    title = "relearn {documents} {text}, {lora_rank}"
    standard = (
        {"text": "unrelated", "documents": 10},
        {"text": "unrelated", "documents": 100},
        {"text": "related", "documents": 100},
        {"text": "facts", "documents": 100},
    )

    attack: Literal["relearn"] = Field(description="The attack.")
    text: Literal["unrelated", "related", "facts"] = Field(
        description="unrelated: retain text. related: forget text without the facts that are asked about. "
        "facts: questions about other facts, with their answers."
    )
    documents: int = Field(default=100, ge=1, description="How many documents the attacker has.")

    @property
    def words(self) -> dict[str, Any]:
        """The text as what it is."""
        return super().words | {"text": "other facts" if self.text == "facts" else f"{self.text} documents"}

    def effort(self, *, asked: int, others: int, device: str) -> Effort:  # noqa: ARG002
        """Steps over all documents, then the questions."""
        return Effort(self.steps(self.documents), asked)

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Fine-tune on the documents that the settings name, none of them about the facts asked, and ask."""
        corpus = attackers_text(self, target, exam)
        model = target.load()
        trained = self.fine_tune(model, corpus, progress)
        answers = exam.ask(model, target.tokenizer, progress=progress)
        found = {"documents": len(corpus.documents), "steps": trained.steps, **trained.found}
        return Attempt(answers=answers, found=found, doubt=trained.doubt)


def attackers_text(settings: Relearning, target: Target, exam: Exam) -> TokenCorpus:
    """At most `documents` documents, chosen by the seed. Raises GovernError where no related text can be used."""
    if settings.text == "unrelated":
        documents = target.unrelated.documents
    elif settings.text == "facts":
        documents = tokenize(
            [f"{question.text.strip()} {question.choices[question.answer]}" for question in exam.others],
            target.tokenizer,
            max_tokens=_MAX_TOKENS,
        ).documents
    else:
        kept = sentences_without(exam.asked, target.related, target.tokenizer)
        if not kept:
            raise GovernError(
                "every sentence of the forget text names a fact that is asked about, so none can be used to relearn",
                where=WHERE,
                hint="Use text: facts or text: unrelated.",
            )
        documents = tokenize(kept, target.tokenizer, max_tokens=_MAX_TOKENS).documents
    return TokenCorpus(shuffled(documents, settings.seed)[: settings.documents])


def sentences_without(
    asked: Sequence[Question], corpus: TokenCorpus, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, ...]:
    """The sentences of a text that name none of the facts asked about, nor, where facts have no names, an answer."""
    names = {question.cluster or question.choices[question.answer] for question in asked}
    named = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(names))) + r")(?!\w)", re.IGNORECASE)
    texts = [str(tokenizer.decode(list(document), skip_special_tokens=True)) for document in corpus.documents]
    sentences = (sentence.strip() for text in texts for sentence in re.split(r"(?<=[.!?])\s+", text))
    return tuple(dict.fromkeys(sentence for sentence in sentences if sentence and not named.search(sentence)))
