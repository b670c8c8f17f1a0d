"""LLMU (Yao et al. 2023, arXiv 2310.10683): ascent, random answers, and the original beside.

    L = −ε1 CE(θ; forget) + ε2 (1/K) Σ_k CE(θ; answer_k | beginning) + ε3 KL(p_ref ‖ p_θ; retain)

The paper has questions and answers. Of a plain text, the beginning is its first half, and a random answer is the second
half of a retain document drawn at random; only the answer's tokens count.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from govern.unlearning.batches import Batch, generator, padded
from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.predictions import divergence
from govern.unlearning.whole_model.settings import LlmuSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def llmu(request: Request[LlmuSettings]) -> Edit:
    """Minimise the loss above. Raises as `minimise` does."""
    return minimise(llmu_loss, request)


def llmu_loss(student: Student, turn: Turn, settings: LlmuSettings) -> Iterator[Term]:
    """The ascent, K random answers one by one, and the KL on retain text."""
    yield Term("forget", -settings.forget_weight, student.read(turn.forget).loss())
    share = settings.random_weight / settings.random_answers
    for number in range(settings.random_answers):
        yield Term("other", share, student.read(random_answers(turn, number)).loss())
    before = student.read_original(turn.retain).logits
    yield Term("retain", settings.retain_weight, divergence(before, student.read(turn.retain).logits))


def random_answers(turn: Turn, number: int) -> Batch:
    """The beginnings of the visit's forget documents, each with the second half of some retain document after it."""
    deck = turn.topic.forget
    beginnings = [document[: _half(document)] for document in deck.documents[deck.visit(turn.visit)]]
    answers = [document for batch in turn.topic.retain.documents for document in batch]
    random = generator(f"{turn.topic.seed}/random answers/{turn.visit}/{number}")
    drawn = [answers[place] for place in torch.randint(len(answers), (len(beginnings),), generator=random).tolist()]
    joined = [(*beginning, *answer[_half(answer) :]) for beginning, answer in zip(beginnings, drawn, strict=True)]
    return padded(joined, list(map(len, beginnings)), deck.device)


def _half(document: tuple[int, ...]) -> int:
    return len(document) // 2
