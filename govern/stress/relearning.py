"""Relearning: removed knowledge may come back after a little fine-tuning on something else."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from govern.corpora import TokenCorpus, tokenize
from govern.errors import GovernError
from govern.evaluation.questions import Question
from govern.progress import Progress
from govern.stress.exam import Exam
from govern.stress.protocol import Attempt, Target
from govern.stress.settings import Endurance, Relearning
from govern.training import FineTuning, fine_tune

_ADAPTER_RATE, _WHOLE_RATE = 2e-4, 2e-5
_MAX_TOKENS = 256


def relearn(settings: Relearning, target: Target, exam: Exam, progress: Progress) -> Attempt:
    """Fine-tune on the documents that the settings name, none of them about the facts asked, and ask."""
    corpus = attackers_text(settings, target, exam)
    model = target.load()
    training = FineTuning(
        steps=math.ceil(len(corpus.documents) * settings.epochs / settings.batch_size),
        learning_rate=learning_rate(settings),
        batch_size=settings.batch_size,
        lora_rank=settings.lora_rank,
        seed=settings.seed,
    )
    fine_tune(model, corpus, training, progress=progress)
    answers = exam.ask(model, target.tokenizer, progress=progress)
    return Attempt(answers=answers, found={"documents": len(corpus.documents), "steps": training.steps})


def learning_rate(settings: Relearning | Endurance) -> float:
    """The rate that is asked for, or one that suits an adapter or every weight."""
    return settings.learning_rate or (_WHOLE_RATE if settings.lora_rank is None else _ADAPTER_RATE)


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
                where="verification.stress",
                hint="Use text: facts or text: unrelated.",
            )
        documents = tokenize(kept, target.tokenizer, max_tokens=_MAX_TOKENS).documents
    return TokenCorpus(shuffled(documents, settings.seed)[: settings.documents])


def shuffled(documents: Sequence[tuple[int, ...]], seed: int) -> tuple[tuple[int, ...], ...]:
    """Documents in the order that a seed gives."""
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(documents[index] for index in order)


def sentences_without(
    asked: Sequence[Question], corpus: TokenCorpus, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, ...]:
    """The sentences of a text that name none of the facts asked about, nor, where facts have no names, an answer."""
    names = {question.cluster or question.choices[question.answer] for question in asked}
    named = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(names))) + r")(?!\w)", re.IGNORECASE)
    texts = [str(tokenizer.decode(list(document), skip_special_tokens=True)) for document in corpus.documents]
    sentences = (sentence.strip() for text in texts for sentence in re.split(r"(?<=[.!?])\s+", text))
    return tuple(dict.fromkeys(sentence for sentence in sentences if sentence and not named.search(sentence)))
