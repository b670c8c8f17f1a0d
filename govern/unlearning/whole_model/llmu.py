"""LLMU (Yao et al. 2023, arXiv 2310.10683): ascent, random answers, and the original beside.

    L = −ε1 CE(θ; forget) + ε2 (1/K) Σ_k CE(θ; answer_k | beginning) + ε3 KL(p_ref ‖ p_θ; retain)

The paper has questions and answers. Of a plain text, the beginning is its first half, and a random answer is the second
half of a retain document drawn at random; only the answer's tokens count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.predictions import divergence
from govern.unlearning.whole_model.settings import Objective, Passes
from govern.unlearning.whole_model.terms import Term, Turn

if TYPE_CHECKING:
    from govern.unlearning.batches import Batch
    from govern.unlearning.whole_model.student import Student


class LlmuSettings(Objective):
    """Ascent on the forget text, random answers to its beginnings, and the original's output on retain text."""

    reference: ClassVar[bool] = True

    method: Literal["llmu"] = Field(description="The removal method.")
    steps: int = Field(default=1000, ge=1, description="Batches in all; topics take turns.")
    learning_rate: float = Field(default=2e-6, gt=0, description="AdamW's.")
    forget_weight: float = Field(default=0.5, ge=0, description="ε1: how much the ascent weighs.")
    random_weight: float = Field(default=1.0, ge=0, description="ε2: how much the random answers weigh.")
    retain_weight: float = Field(default=1.0, ge=0, description="ε3: how much the KL to the original weighs.")
    random_answers: int = Field(default=5, ge=1, description="K: random answers to each beginning.")

    @property
    def passes(self) -> Passes:
        """The forget text, K answers to it, and retain text through both models."""
        return Passes(3 + self.random_answers, 2 + self.random_answers)


def llmu_loss(student: Student, turn: Turn, settings: LlmuSettings) -> Iterator[Term]:
    """The ascent, K random answers one by one, and the KL on retain text."""
    yield Term("forget", -settings.forget_weight, student.read(turn.forget).loss())
    share = settings.random_weight / settings.random_answers
    for number in range(settings.random_answers):
        yield Term("other", share, student.read(random_answers(turn, number)).loss())
    before = student.read_base(turn.retain).logits
    yield Term("retain", settings.retain_weight, divergence(before, student.read(turn.retain).logits))


def random_answers(turn: Turn, number: int) -> Batch:
    """The beginnings of the visit's forget documents, each with the second half of some retain document after it."""
    import torch

    from govern.unlearning.batches import generator, padded

    deck = turn.topic.forget
    beginnings = [document[: _half(document)] for document in deck.documents[deck.visit(turn.visit)]]
    answers = [document for batch in turn.topic.retain.documents for document in batch]
    random = generator(f"{turn.topic.seed}/random answers/{turn.visit}/{number}")
    drawn = [answers[place] for place in torch.randint(len(answers), (len(beginnings),), generator=random).tolist()]
    joined = [(*beginning, *answer[_half(answer) :]) for beginning, answer in zip(beginnings, drawn, strict=True)]
    return padded(joined, list(map(len, beginnings)), deck.device)


def _half(document: tuple[int, ...]) -> int:
    return len(document) // 2


METHOD = objective("llmu", LlmuSettings, llmu_loss)
