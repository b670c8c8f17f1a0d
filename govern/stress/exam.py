"""The questions that attacks are scored on, and those about other facts, which an attacker may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from govern.digests import canonical_digest
from govern.errors import UsageError
from govern.evaluation.answers import Answers
from govern.evaluation.questions import Question
from govern.progress import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["letters", "cloze"]

FEWEST_FACTS = 4


@dataclass(frozen=True)
class Exam:
    """A task's certifying questions in two halves that share no fact: `asked` are scored, `others` are not."""

    task: str
    kind: Kind
    asked: tuple[Question, ...]
    others: tuple[Question, ...]

    @classmethod
    def halve(cls, task: str, kind: Kind, questions: Sequence[Question], *, limit: int) -> Exam:
        """Divide the facts by hash, so that the same half is asked every time; at most `limit` questions a half.

        Raises UsageError where there are fewer than FEWEST_FACTS, two on either side.
        """

        def place(question: Question) -> tuple[str, str]:
            fact = sha256(f"{task}\nstress\n{fact_of(question)}".encode()).hexdigest()
            return fact, question.id

        ordered = sorted(questions, key=place)
        facts = facts_of(ordered)
        held_out = set(facts[: len(facts) // 2])
        halves: tuple[list[Question], list[Question]] = ([], [])
        for question in ordered:
            halves[fact_of(question) not in held_out].append(question)
        if len(facts) < FEWEST_FACTS:
            raise UsageError(
                f"task {task} has {len(facts)} facts, too few to attack one half and to ask about the other",
                hint=f"Give it certifying questions about at least {FEWEST_FACTS} facts.",
            )
        asked, others = (tuple(half[:limit]) for half in halves)
        return cls(task, kind, asked, others)

    @property
    def digest(self) -> str:
        """What is asked and what an attacker may learn from, in order."""
        halves = [[[each.id, each.answer, fact_of(each)] for each in half] for half in (self.asked, self.others)]
        return canonical_digest([self.task, self.kind, *halves])

    def first(self, limit: int) -> Exam:
        """The exam with at most `limit` questions on either side."""
        return replace(self, asked=self.asked[:limit], others=self.others[:limit])

    def ask(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, progress: Progress = silent
    ) -> Answers:
        """A model's answers to the half that is scored."""
        from govern.evaluation.harness import ask_questions

        return ask_questions(model, tokenizer, self.task, self.kind, self.asked, progress=progress)

    def answered(self, chosen: Sequence[int]) -> Answers:
        """Answers to the half that is scored which were read off the model in another way, by the choices' indices."""
        return Answers(
            task=self.task,
            metric="acc",
            kind=self.kind,
            ids=tuple(question.id for question in self.asked),
            clusters=tuple(sha256(fact_of(question).encode()).hexdigest()[:16] for question in self.asked),
            parts=("certification",) * len(self.asked),
            correct=tuple(choice == each.answer for choice, each in zip(chosen, self.asked, strict=True)),
            chosen=tuple(chosen),
            choices=tuple(len(question.choices) for question in self.asked),
        )

    def rephrased(self, kind: Kind, texts: Sequence[str]) -> Exam:
        """The same questions in other words; they keep their ids, so that answers can be compared one by one."""
        asked = tuple(replace(question, text=text) for question, text in zip(self.asked, texts, strict=True))
        return Exam(self.task, kind, asked, self.others)


def fact_of(question: Question) -> str:
    """What a question is about: its cluster, or the question itself where questions are independent."""
    return question.cluster or question.id


def facts_of(questions: Sequence[Question]) -> list[str]:
    """What some questions are about, each fact once, in the order of its first question."""
    return list(dict.fromkeys(map(fact_of, questions)))
