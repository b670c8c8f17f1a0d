"""Ask one model every question and read it every held-back text, and keep each answer as soon as it is there.

A killed verification thus goes on where it was, and an unchanged base model is not asked the same questions twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from govern.digests import canonical_digest, sha256_bytes
from govern.errors import IntegrityError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.harness import evaluate, official_questions, perplexity, word_perplexity
from govern.evaluation.official import OFFICIAL, OfficialTask
from govern.evaluation.questions import OwnTask, Question, questions_of
from govern.evaluation.recount import Recounted, ScoredTexts, recount
from govern.policy import LoadedPolicy
from govern.progress import Progress, silent
from govern.records import Environment, Record
from govern.workflow.removal.plan import Planned, official_texts, question_sets
from govern.workspace import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ASKED_ANEW = 8

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Measurement:
    """Everything asked of one model. `remembered` names what it was asked earlier, not now."""

    answers: tuple[Answers, ...]
    perplexities: tuple[Perplexity, ...]
    remembered: tuple[str, ...]

    def answered(self, task: str, metric: str) -> Answers:
        """The answers to one set's certification questions: those that chose settings never decide a gate."""
        found = next(found for found in self.answers if (found.task, found.metric) == (task, metric))
        return found.part("certification")

    def perplexity(self, name: str) -> Perplexity:
        """The perplexity on one held-back corpus."""
        return next(found for found in self.perplexities if found.task == name)


@dataclass(frozen=True)
class AnswerMemory:
    """One model's answers as files, each named by all they depend on: the model, its dtype, the questions, the harness.

    A file that is damaged or of another version is as good as none. Without a `folder` nothing is kept.
    """

    folder: Path | None
    model_digest: str
    environment: Environment
    dtype: str = "float32"
    remembered: list[str] = field(default_factory=list)

    def answers(
        self, name: str, digest: str, kind: type[RecordT], ask: Callable[[], tuple[RecordT, ...]]
    ) -> tuple[RecordT, ...]:
        """What the model said to the questions of this digest: as it is kept here, or by asking it."""
        if self.folder is None:
            return ask()
        path = self.folder / canonical_digest([self.model_digest, self.dtype, name, digest, self.environment.to_json()])
        try:
            sha256, _, body = path.read_bytes().partition(b"\n")
            if sha256 == sha256_bytes(body).encode():
                found = tuple(kind.parse(line) for line in body.splitlines())
                self.remembered.append(name)
                return found
        except (OSError, ValidationError):
            pass
        found = ask()
        body = b"\n".join(record.canonical() for record in found)
        # Where it cannot be kept, on a full disk or in a home that is read-only, it is only asked again another time.
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, sha256_bytes(body).encode() + b"\n" + body)
        return found


@dataclass(frozen=True)
class ModelUnderTest:
    """A model in memory that is asked, with its memory of what it said before. `mirror` is as for `evaluate`."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    planned: Planned
    loaded: LoadedPolicy
    mirror: Path | None
    memory: AnswerMemory
    progress: Progress
    kept: ScoredTexts = field(default_factory=ScoredTexts)

    def measure(self) -> Measurement:
        """Ask every certifying question and read every held-back text."""
        asked = [answers for task in certifying_sets(self.loaded) for answers in self.ask(task)]
        return Measurement(tuple(asked), self.read(), tuple(self.memory.remembered))

    def ask(self, task: OwnTask | str, only: Collection[str] | None = None) -> tuple[Answers, ...]:
        """Ask one set's questions, or `only` those with these ids."""
        name = set_name(task)
        digest = next(known.digest for known in self.planned.plan.tasks if known.name == name)
        members = () if isinstance(task, OwnTask) else OFFICIAL[task]
        if only is None and len(members) > 1:
            return (self._ask_members(name, members, digest),)
        kept_by = digest if only is None else canonical_digest([digest, sorted(only)])
        ask = partial(self._evaluate, task, only=only, progress=self.progress)
        return self.memory.answers(name, kept_by, Answers, ask)

    def recount(self, measured: Measurement) -> Recounted:
        """Recompute some likelihoods by a plain forward. Raises IntegrityError where the scorer gave others.

        Where everything was answered from memory, a few questions are asked anew.
        """
        if not self.kept.texts:
            task = certifying_sets(self.loaded)[0]
            self._evaluate(task, only=measured.answers[0].ids[:_ASKED_ANEW], progress=silent)
        found = recount(self.model, self.kept)
        if not found.agrees:
            raise IntegrityError(
                f"the scorer does not say what the model says: a likelihood is {found.largest:.3g} nats a token from "
                f"that of a plain forward, and {found.allowed:g} is what rounding may come to",
                where=f"model sha256:{self.memory.model_digest}",
                hint="Nothing that was scored can be relied on. Report the model's architecture as our defect.",
            )
        return found

    def _ask_members(self, name: str, members: Sequence[OfficialTask], digest: str) -> Answers:
        """Ask a set of several, of MMLU a subject at a time: each one's answers are kept as soon as they are there."""
        found: list[Answers] = []
        for number, member in enumerate(members, start=1):
            ask = partial(self._evaluate, member.name, only=None, progress=silent)
            found += self.memory.answers(member.name, canonical_digest([digest, member.name]), Answers, ask)
            self.progress(f"answer {name}", number, len(members))
        return Answers.joined(name, found)

    def _evaluate(
        self, task: OwnTask | str, *, only: Collection[str] | None, progress: Progress
    ) -> tuple[Answers, ...]:
        share = self.loaded.policy.verification.selection.share
        return evaluate(
            self.model,
            self.tokenizer,
            [task],
            share=share,
            mirror=self.mirror,
            only=only,
            kept=self.kept,
            progress=progress,
        )

    def read(self) -> tuple[Perplexity, ...]:
        """Read every held-back text, then every official one."""
        read: list[Perplexity] = []
        for name, text in self.planned.held_back.items():
            read.extend(self._read(name, text.digest, partial(perplexity, self.model, text, name=name)))
        official = partial(word_perplexity, self.model, self.tokenizer, mirror=self.mirror)
        for task in self.planned.plan.tasks:
            if task.name in official_texts(self.loaded):
                read.extend(self._read(task.name, task.digest, official))
        return tuple(read)

    def _read(self, name: str, digest: str, read: Callable[..., Perplexity]) -> tuple[Perplexity, ...]:
        return self.memory.answers(name, digest, Perplexity, lambda: (read(progress=self.progress),))


def certifying_sets(loaded: LoadedPolicy) -> list[OwnTask | str]:
    """The question sets that certify: questions that only choose settings are not asked here."""
    return [task for task in question_sets(loaded) if not (isinstance(task, OwnTask) and task.use == "selection")]


def certifying_questions(task: OwnTask | str, loaded: LoadedPolicy, mirror: Path | None) -> tuple[Question, ...]:
    """The questions of one set that certify. Raises as `evaluate` does."""
    share = loaded.policy.verification.selection.share
    if isinstance(task, str):
        return official_questions(task, share=share, mirror=mirror)
    return questions_of(task, "certification", share=share)


def set_name(task: OwnTask | str) -> str:
    """The name of a question set."""
    return task if isinstance(task, str) else task.name
