"""One point of a sweep: edit the model by its settings, ask it the questions that choose, put it back.

`score_point` is a plain function of values that can be pickled, so that it runs wherever an executor puts it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from govern.corpora import TokenCorpus
from govern.digests import sha256_bytes
from govern.errors import GovernError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.harness import evaluate, perplexity
from govern.evaluation.questions import OwnTask
from govern.models import apply_delta, delta_bytes, load_model, load_tokenizer, read_tensors
from govern.progress import Progress, silent
from govern.records import Record
from govern.stress.attack import Target
from govern.stress.exam import Exam
from govern.stress.relearning import Relearning
from govern.unlearning.points import Points
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import MethodSettings
from govern.workflow.sweeps.memory import PeakMemory

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Bench:
    """What all points of a sweep have in common. `request` holds model and text; its settings are each point's own.

    `apart`: a point shares no opened model with the one before, so that its time and memory are those of a removal.
    """

    request: RemovalRequest[Any]
    base_digest: str
    tasks: tuple[OwnTask | str, ...]
    share: float
    mirror: Path | None
    held_back: tuple[tuple[str, TokenCorpus], ...]
    attacker: Attacker | None = None
    dtype: str = "float32"
    apart: bool = False


@dataclass(frozen=True)
class Attacker:
    """The attack that every point is put to, the questions that choose as its exams, and the attacker's text."""

    attack: Relearning
    exams: tuple[Exam, ...]
    unrelated: TokenCorpus
    related: TokenCorpus


class SelectionAnswers(Record):
    """What one model said to the selection questions and the held-back texts, and under the attack, if there is one."""

    answers: tuple[Answers, ...]
    perplexities: tuple[Perplexity, ...]
    attacked: tuple[Answers, ...] = ()

    def answered(self, task: str, metric: str) -> Answers:
        """The answers to one set."""
        return next(found for found in self.answers if (found.task, found.metric) == (task, metric))


@dataclass(frozen=True)
class Outcome:
    """What became of one point: what the edited model said, or why there is none."""

    said: SelectionAnswers | None
    error: str | None
    change_norm: float | None
    target_norm: float | None
    delta_sha256: str | None
    edit_seconds: float
    edit_peak_bytes: int | None
    score_seconds: float


class _Station:
    """A process's own model and trunk, kept from one point to the next."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        request = bench.request
        self.points = Points(replace(request, progress=silent))
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(
            request.model_path, trust_remote_code=request.trust_remote_code
        )
        self.model = self._load(getattr(torch, bench.dtype))

    def edit(self, settings: MethodSettings) -> Edit:
        """The edit of one point. Raises as its method does."""
        try:
            return self.points.edit(settings)
        finally:
            if self.bench.apart:
                self.points = Points(self.points.request)

    def ask(self, tensors: Mapping[str, Tensor], progress: Progress) -> SelectionAnswers:
        """Put the selection questions and the held-back texts to the model as it is; `tensors` are those changed."""
        bench = self.bench
        answers = evaluate(
            self.model,
            self.tokenizer,
            bench.tasks,
            share=bench.share,
            mirror=bench.mirror,
            part="selection",
            progress=progress,
        )
        texts = bench.held_back
        return SelectionAnswers(
            answers=answers,
            perplexities=tuple(perplexity(self.model, text, name=name, progress=progress) for name, text in texts),
            attacked=tuple(self._attacked(tensors, progress)),
        )

    def _attacked(self, tensors: Mapping[str, Tensor], progress: Progress) -> Iterator[Answers]:
        """What a copy of the model says once it was attacked."""
        if (attacker := self.bench.attacker) is None:
            return
        target = Target(
            load=lambda: copy.deepcopy(self.model).float(),  # an attack trains
            tokenizer=self.tokenizer,
            unrelated=attacker.unrelated,
            related=attacker.related,
            base=lambda: self._load(torch.float32),
            delta=tensors,
        )
        for exam in attacker.exams:
            yield attacker.attack.attempt(target, exam, progress).answers

    def _load(self, dtype: torch.dtype) -> PreTrainedModel:
        """The base model."""
        request = self.bench.request
        return load_model(
            request.model_path,
            dtype=dtype,
            device=request.device,
            trust_remote_code=request.trust_remote_code,
        )

    def ask_edited(self, tensors: Mapping[str, Tensor], progress: Progress) -> SelectionAnswers:
        """The same of the model with these tensors in place; they are taken out again."""
        base = read_tensors(self.bench.request.model_path, tensors)
        apply_delta(self.model, tensors)
        try:
            return self.ask(tensors, progress)
        finally:
            apply_delta(self.model, base)


_station: _Station | None = None


def _at(bench: Bench) -> _Station:
    global _station
    if _station is None or _station.bench != bench:
        _station = None  # its models are freed before the next ones are loaded
        _station = _Station(bench)
    return _station


def leave() -> None:
    """Free this process's models."""
    global _station
    _station = None


def score_base(bench: Bench, *, progress: Progress = silent) -> SelectionAnswers:
    """What the base model says."""
    return _at(bench).ask({}, progress)


def score_point(bench: Bench, settings: MethodSettings, *, progress: Progress = silent) -> Outcome:
    """Edit by these settings, ask, and put the model back. An error that a user can meet is part of the outcome."""
    station = _at(bench)
    started, memory = time.monotonic(), PeakMemory(bench.request.device)
    try:
        with memory:
            edit = station.edit(settings)
    except GovernError as error:
        return Outcome(None, error.message, None, None, None, time.monotonic() - started, memory.bytes, 0.0)
    edited = time.monotonic()
    norms = [value for name, value in edit.figures.items() if name.endswith(".target_norm") and ".layer_" not in name]
    outcome = Outcome(
        said=None,
        error=None,
        change_norm=_distance(edit.tensors, read_tensors(bench.request.model_path, edit.tensors)),
        target_norm=sum(norms) / len(norms) if norms else None,
        delta_sha256=sha256_bytes(delta_bytes(edit.tensors, base_digest=bench.base_digest)),
        edit_seconds=edited - started,
        edit_peak_bytes=memory.bytes,
        score_seconds=0.0,
    )
    try:
        said = station.ask_edited(edit.tensors, progress)
    except GovernError as error:
        return replace(outcome, error=error.message, score_seconds=time.monotonic() - edited)
    return replace(outcome, said=said, score_seconds=time.monotonic() - edited)


def _distance(edited: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float:
    squares = [float((tensor.double() - base[name].double()).square().sum()) for name, tensor in edited.items()]
    return math.sqrt(sum(squares))
