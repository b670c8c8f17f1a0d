"""Endurance: people fine-tune a model for purposes of their own, and the removal has to outlast that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.attack import WHERE, AttackRefusal, Attempt, Conditions, Effort, Target
from govern.stress.exam import Exam
from govern.stress.tuning import Tuning, shuffled


class Endurance(Tuning):
    """Fine-tune on unrelated text for longer and longer, and ask after each stage."""

    title = "fine-tune on {stages} unrelated documents, {lora_rank}"

    attack: Literal["endure"] = Field(description="The attack.")
    stages: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(5, 10, 50, 100), min_length=1, description="Documents seen by the end of each stage, growing."
    )
    epochs: int = Field(default=3, ge=1, description="How often a stage's new documents are seen.")

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if any(later <= earlier for earlier, later in self._spans()[1:]):
            raise ValueError("`stages` must grow")
        return self

    def _spans(self) -> list[tuple[int, int]]:
        """The documents of each stage: from the first to the one before the second."""
        return list(pairwise((0, *self.stages)))

    @property
    def words(self) -> dict[str, Any]:
        """The stages one after the other."""
        return super().words | {"stages": " ".join(map(str, self.stages))}

    def effort(self, *, asked: int, others: int, device: str) -> Effort:  # noqa: ARG002
        """Every stage's steps and questions."""
        return Effort(sum(self.steps(end - start) for start, end in self._spans()), asked * len(self.stages))

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:
        """A stage that is longer than the retain text, or what any attack on weights refuses."""
        yield from super().refusals(conditions)
        if self.stages[-1] > conditions.retained:
            yield AttackRefusal(
                "stages",
                f"the last stage needs {self.stages[-1]} documents, and the retain text has {conditions.retained}",
                "Name shorter `stages`, or add retain text.",
            )

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Fine-tune on unrelated text stage by stage, ask after each, and keep the answers with most of them right.

        Only a removal that outlasts every stage passes, so no correction for several looks is due: the best of them
        decides against it. Raises GovernError where there is less text than the stages ask for.
        """
        documents = shuffled(target.unrelated.documents, self.seed)
        if len(documents) < self.stages[-1]:
            raise GovernError(
                f"the retain text has {len(documents)} documents and the last stage needs {self.stages[-1]}",
                where=WHERE,
                hint="Ask for shorter `stages`, or add retain text.",
            )
        model = target.load()
        asked, trained = [], []
        for stage, (start, end) in enumerate(self._spans()):
            trained.append(self.fine_tune(model, TokenCorpus(documents[start:end]), progress, stage=stage))
            asked.append(exam.ask(model, target.tokenizer, progress=progress))
        return Attempt(
            answers=max(asked, key=lambda answers: answers.accuracy),
            found={
                "documents": list(self.stages),
                "right_after": [round(answers.accuracy, 4) for answers in asked],
                **{name: [each.found[name] for each in trained] for name in trained[0].found},
            },
            # The later stages go on with what the earlier ones taught, so one that learnt is enough.
            doubt="" if any(not each.doubt for each in trained) else trained[-1].doubt,
        )
