"""Ask one model every question and read it every held-back text, and keep each answer as soon as it is there.

A killed verification thus goes on where it was, and an unchanged base model is not asked the same questions twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from govern.corpora import TokenCorpus
from govern.digests import canonical_digest, sha256_bytes
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.harness import evaluate, perplexity
from govern.evaluation.questions import OwnTask
from govern.policy import LoadedPolicy
from govern.progress import Progress
from govern.records import Environment, Record
from govern.workflow.plan import Planned, question_sets
from govern.workspace import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Measured:
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
class Memory:
    """One model's answers as files, each named by all that it depends on: the model, the questions, the harness.

    A file that is damaged or of another version is as good as none. Without a `folder` nothing is kept.
    """

    folder: Path | None
    model_digest: str
    environment: Environment
    remembered: list[str] = field(default_factory=list)

    def answers(
        self, name: str, digest: str, kind: type[RecordT], ask: Callable[[], tuple[RecordT, ...]]
    ) -> tuple[RecordT, ...]:
        """What the model said to the questions of this digest: as it is kept here, or by asking it."""
        if self.folder is None:
            return ask()
        path = self.folder / canonical_digest([self.model_digest, name, digest, self.environment.to_json()])
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


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    planned: Planned,
    loaded: LoadedPolicy,
    mirror: Path | None,
    memory: Memory,
    progress: Progress,
) -> Measured:
    """Ask one model every certifying question and read it every held-back text."""
    share = loaded.policy.verification.selection.share
    digests = {task.name: task.digest for task in planned.plan.tasks}
    asked: list[Answers] = []
    for task in question_sets(loaded):
        # Questions that only choose settings can certify nothing, so they are not asked here.
        if isinstance(task, OwnTask) and task.use == "selection":
            continue
        name = task if isinstance(task, str) else task.name
        ask = partial(evaluate, model, tokenizer, [task], share=share, mirror=mirror, progress=progress)
        asked.extend(memory.answers(name, digests[name], Answers, ask))
    read: list[Perplexity] = []
    for name, text in planned.held_back.items():
        read_it = partial(_read, model, text, name, progress)
        read.extend(memory.answers(name, text.digest, Perplexity, read_it))
    return Measured(tuple(asked), tuple(read), tuple(memory.remembered))


def _read(model: PreTrainedModel, text: TokenCorpus, name: str, progress: Progress) -> tuple[Perplexity]:
    return (perplexity(model, text, name=name, progress=progress),)
