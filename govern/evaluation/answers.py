"""What a model answered: the records that gates are judged by and that a run keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Literal, Self

from pydantic import Field, model_validator

from govern.records import Record

Part = Literal["selection", "certification"]
Metric = Literal["acc", "acc_norm"]
TaskKind = Literal["letters", "cloze", "official"]


class Answers(Record):
    """One model's answers to one question set under one metric.

    All tuples run over the same n questions. `ids` are digests of a question's content, never its text. `clusters`
    tells apart what questions are about by digests, where several are about one thing; None where they are independent.
    `chosen` is the index of the choice that the model preferred, −1 where it wrote an answer that names none, and
    `choices` how many there were. `subjects` are those of MMLU's questions. `cut` marks questions that lost their
    beginning because they are longer than the model's context, `merged` those whose choices lm-eval's convention scores
    without a token that spans the seam; None where there are none.
    """

    task: str
    metric: Metric
    kind: TaskKind
    ids: tuple[str, ...]
    clusters: tuple[str, ...] | None
    parts: tuple[Part, ...]
    correct: tuple[bool, ...]
    chosen: tuple[int, ...]
    choices: tuple[int, ...]
    # Left out where there are none, so that answers of before they existed keep their bytes.
    subjects: tuple[str, ...] | None = Field(default=None, exclude_if=lambda subjects: subjects is None)
    cut: tuple[bool, ...] | None = Field(default=None, exclude_if=lambda cut: cut is None)
    merged: tuple[bool, ...] | None = Field(default=None, exclude_if=lambda merged: merged is None)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        n = len(self.ids)
        columns = (self.parts, self.correct, self.chosen, self.choices)
        optional = (self.clusters, self.subjects, self.cut, self.merged)
        if any(len(column) != n for column in (*columns, *optional) if column is not None):
            raise ValueError(f"every column of the answers must have {n} entries")
        return self

    @classmethod
    def joined(cls, task: str, parts: Sequence[Self]) -> Self:
        """The answers to several question sets of one kind, which have subjects and no clusters, as those to one."""
        first = parts[0]
        return cls(
            task=task,
            metric=first.metric,
            kind=first.kind,
            clusters=None,
            subjects=tuple(subject for part in parts for subject in part.subjects or ()),
            **{
                name: tuple(chain.from_iterable(getattr(part, name) for part in parts))
                for name in ("ids", "parts", "correct", "chosen", "choices")
            },
            **{
                name: tuple(flag for part in parts for flag in getattr(part, name) or (False,) * len(part.ids))
                for name in ("cut", "merged")
                if any(getattr(part, name) for part in parts)
            },
        )

    @property
    def chance(self) -> float:
        """The accuracy of guessing: the mean of 1/choices."""
        return sum(1 / choices for choices in self.choices) / len(self.choices)

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return sum(self.correct) / len(self.correct)

    def part(self, part: Part) -> Answers:
        """The answers to the questions of one part, in the same order."""
        return self.take(index for index, other in enumerate(self.parts) if other == part)

    def only(self, ids: Collection[str]) -> Answers:
        """The answers to the questions with these ids, in the same order."""
        return self.take(index for index, name in enumerate(self.ids) if name in ids)

    def about(self, subjects: Collection[str]) -> Answers:
        """The answers to the questions of these subjects, in the same order."""
        return self.take(index for index, subject in enumerate(self.subjects or ()) if subject in subjects)

    def take(self, indices: Iterable[int]) -> Answers:
        """The answers at these places."""
        kept = tuple(indices)
        return self.model_copy(
            update={
                "ids": tuple(self.ids[i] for i in kept),
                "clusters": None if self.clusters is None else tuple(self.clusters[i] for i in kept),
                "parts": tuple(self.parts[i] for i in kept),
                "correct": tuple(self.correct[i] for i in kept),
                "chosen": tuple(self.chosen[i] for i in kept),
                "choices": tuple(self.choices[i] for i in kept),
                "subjects": None if self.subjects is None else tuple(self.subjects[i] for i in kept),
                "cut": None if self.cut is None else tuple(self.cut[i] for i in kept),
                "merged": None if self.merged is None else tuple(self.merged[i] for i in kept),
            }
        )


class Perplexity(Record):
    """One model's surprise at a corpus: per document the summed negative log-likelihood (nats) of its counted tokens.

    A document's first token conditions the others and is not counted. With the `unit` word, `tokens` counts words, and
    what all of a document's tokens say is shared out over them.
    """

    task: str
    ids: tuple[str, ...]
    nll: tuple[float, ...]
    tokens: tuple[int, ...]
    unit: Literal["token", "word"] = Field(default="token", exclude_if=lambda unit: unit == "token")
