"""Greedy generation: what the model says in its own words. The words themselves leave this file only as a digest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from govern.digests import canonical_digest
from govern.progress import Progress
from govern.stress.attack import Attack, Attempt, Target
from govern.stress.exam import Exam

_NO_CHOICE = -1


class Generation(Attack):
    """Let the model finish the question in its own words, greedily; the first choice that it names is its answer."""

    title = "generate greedily"

    attack: Literal["generate"] = Field(description="The attack.")
    max_new_tokens: int = Field(default=24, ge=1, description="Tokens that the model may write.")

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Let the model go on from each question; its answer is the first choice that it names, or none."""
        from govern.corpora import encode
        from govern.evaluation.generation import continued

        model = target.load()
        prompts = [encode(question.text.strip(), target.tokenizer) for question in exam.asked]
        samples = continued(
            model, target.tokenizer, prompts, self.max_new_tokens, stage="let it speak", progress=progress
        )
        answers = exam.answered(
            [first_named(question.choices, sample) for question, sample in zip(exam.asked, samples, strict=True)]
        )
        return Attempt(
            answers=answers,
            found={
                "samples": len(samples),
                "naming_a_choice": sum(choice != _NO_CHOICE for choice in answers.chosen),
                "naming_the_answer": sum(answers.correct),
                "samples_sha256": canonical_digest(samples),
            },
        )


def first_named(choices: Sequence[str], sample: str) -> int:
    """The choice that a text names first, of two at one place the longer; -1 where it names none.

    In any case of letters, unless a choice is so short (He, In) that it would be found in ordinary words.
    """

    def place(index: int) -> tuple[int, int]:
        choice = choices[index].strip()
        flags = re.IGNORECASE if len(choice) > 3 else re.NOFLAG
        found = re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", sample, flags)
        return (found.start() if found else len(sample), -len(choice))

    best = min(range(len(choices)), key=place)
    return best if place(best)[0] < len(sample) else _NO_CHOICE
