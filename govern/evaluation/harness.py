"""The lm-eval bridge: a model and question sets in, answers out.

lm-eval's own caches are never used: one is keyed on prompts alone and would serve the old model's scores, the other
ignores a task's content. Scores, chances and intervals are ours; from lm-eval come the official tasks, their prompts
and the answer to each question.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import lm_eval
import lm_eval.api.task
import numpy as np
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate as harness_evaluate
from lm_eval.tasks import TaskManager
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from govern.digests import sha256_bytes
from govern.errors import GovernError, IntegrityError, SourceError
from govern.evaluation.answers import Answers, Metric, Part, Perplexity, TaskKind
from govern.evaluation.length import refuse_cut
from govern.evaluation.official import OFFICIAL, WIKITEXT, WIKITEXT_TASK, OfficialTask
from govern.evaluation.perplexity import perplexity
from govern.evaluation.questions import (
    OwnTask,
    Question,
    as_asked,
    load_questions,
    mirror_digest,
    own_part,
    part_of,
    question_id,
)
from govern.evaluation.recount import ScoredTexts
from govern.evaluation.scoring import Scorer
from govern.progress import Progress, silent
from govern.sources import cache_folder

__all__ = ["evaluate", "perplexity"]

_OFFICIAL_FOLDERS = [
    Path(lm_eval.__file__).parent / "tasks" / name for name in ("wmdp", "mmlu/default", "mmlu/continuation", "wikitext")
]
_OVERLAY = "govern_overlay"


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[OwnTask | str],
    *,
    share: float,
    mirror: Path | None = None,
    limit: int | None = None,
    part: Part | None = None,
    only: Collection[str] | None = None,
    kept: ScoredTexts | None = None,
    progress: Progress = silent,
) -> tuple[Answers, ...]:
    """Ask a model all questions of all tasks, or those of one `part`, or `only` those with these ids: own tasks, or
    official ones by name.

    `share` is the expected share of selection questions in official sets and in own ones of use `split`. `mirror`
    holds the official data sets (MIRROR/cais/wmdp, MIRROR/cais/mmlu); without it they come from the hub at their
    pinned revision. `limit` takes that many questions of each lm-eval task (of each subject of mmlu), in the order of
    their hashes: a random subset, always the same one, instead of the file's beginning. `kept` takes some of the
    likelihoods, to be recomputed.

    Answers come in the order of the tasks: official ones under `acc`; cloze ones under `acc` and `acc_norm`; letters
    ones under `acc`, followed by the same questions in cloze form as "NAME (cloze)", because a weak model fails at
    letters without having forgotten anything.
    Raises UsageError for a bad question file or mirror, SourceError where official data cannot be had, IntegrityError
    where it does not hold the published number of questions.
    """
    with quiet(offline=True):
        scorer = Scorer(model, tokenizer, progress=progress)
    scorer.kept = scorer.kept if kept is None else kept
    wanted = _Wanted(share, part, only, limit)
    answers: list[Answers] = []
    for task in tasks:
        name = task if isinstance(task, str) else task.name
        scorer.stage = f"answer {name}"
        scorer.parted = isinstance(task, str)
        with quiet(offline=mirror is not None or isinstance(task, OwnTask)):
            if isinstance(task, str):
                answers.append(_official(scorer, task, wanted, mirror))
            else:
                answers.extend(_own(scorer, task, wanted))
    return tuple(answers)


@dataclass(frozen=True)
class _Wanted:
    """Which questions are asked, as `evaluate` says."""

    share: float
    part: Part | None
    only: Collection[str] | None
    limit: int | None

    def places(self, ids: Sequence[str], parts: Sequence[Part]) -> list[int]:
        """The indices of those that are asked, in the order of the questions."""
        kept = [
            index
            for index, (name, part) in enumerate(zip(ids, parts, strict=True))
            if (self.only is None or name in self.only) and self.part in (None, part)
        ]
        return kept if self.limit is None else sorted(sorted(kept, key=lambda index: (ids[index], index))[: self.limit])


def _own(scorer: Scorer, task: OwnTask, wanted: _Wanted) -> list[Answers]:
    loaded = load_questions(task)
    parts = [own_part(task, question, share=wanted.share) for question in loaded]
    kept = wanted.places([question.id for question in loaded], parts)
    questions = [loaded[index] for index in kept]
    forms: list[tuple[str, Literal["letters", "cloze"], tuple[Metric, ...]]] = [
        (task.name, task.kind, ("acc",) if task.kind == "letters" else ("acc", "acc_norm"))
    ]
    if task.kind == "letters":
        forms.append((f"{task.name} (cloze)", "cloze", ("acc",)))
    answers: list[Answers] = []
    for name, kind, metrics in forms:
        samples = _ask(scorer, {name: _own_task(name, kind, questions)}, {})[name]
        answers.extend(
            _answers(
                name,
                metric,
                kind,
                samples,
                ids=[question.id for question in questions],
                parts=[parts[index] for index in kept],
                # A fact's name may be a person's: the stored answers tell facts apart without naming them.
                clusters=[sha256_bytes((question.cluster or "").encode())[:16] for question in questions]
                if task.cluster
                else None,
            )
            for metric in metrics
        )
    return answers


def _own_task(name: str, kind: Literal["letters", "cloze"], questions: Sequence[Question]) -> ConfigurableTask:
    """An lm-eval task over questions in memory, so that no data-set cache can serve old ones.

    Letters are asked for as the official tasks do; cloze compares the choices as continuations of the question.
    """
    rows = [_row(kind, question) for question in questions]
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(rows)},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "prompt",
            "doc_to_choice": "options",
            "doc_to_target": "gold",
            "num_fewshot": 0,
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in (("acc",) if kind == "letters" else ("acc", "acc_norm"))
            ],
        }
    )


def _row(kind: Literal["letters", "cloze"], question: Question) -> dict[str, Any]:
    prompt, options = as_asked(kind, question)
    return {"prompt": prompt, "options": list(options), "gold": question.answer}


def ask_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    kind: Literal["letters", "cloze"],
    questions: Sequence[Question],
    *,
    progress: Progress = silent,
) -> Answers:
    """A model's answers to some questions in one form, under `acc`; all count as certifying. Raises as `evaluate`."""
    with quiet(offline=True):
        scorer = Scorer(model, tokenizer, progress=progress)
        scorer.stage = f"answer {name}"
        samples = _ask(scorer, {name: _own_task(name, kind, questions)}, {})[name]
    return _answers(
        name,
        "acc",
        kind,
        samples,
        ids=[question.id for question in questions],
        parts=["certification"] * len(questions),
        clusters=[sha256_bytes((question.cluster or question.id).encode())[:16] for question in questions],
    )


def prompts_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kind: Literal["letters", "cloze"],
    questions: Sequence[Question],
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """For each question, the (context ids, choice ids) of each of its choices, as lm-eval's models see them."""
    with quiet(offline=True):
        scorer = Scorer(model, tokenizer)
    for question in questions:
        row = _row(kind, question)
        yield scorer.encode_choices(row["prompt"], [f" {option}" for option in row["options"]])


def official_questions(name: str, *, share: float, mirror: Path | None) -> tuple[Question, ...]:
    """An official task's certifying questions, to be asked in other ways than the official one."""
    members = OFFICIAL[name]
    with quiet(offline=mirror is not None):
        loaded = load_official(members, mirror)
        found = []
        for member in members:
            for row in _counted(loaded, member, mirror):
                identifier = question_id(row["question"], row["choices"])
                if part_of(identifier, salt=member.split, share=share) == "certification":
                    question, choices = row["question"], tuple(row["choices"])
                    found.append(Question(identifier, question, choices, row["answer"], None))
    return tuple(found)


def _official(scorer: Scorer, name: str, wanted: _Wanted, mirror: Path | None) -> Answers:
    members = OFFICIAL[name]
    loaded = load_official(members, mirror)
    ids: list[str] = []
    parts: list[Part] = []
    chosen: dict[str, list[int]] = {}
    for member in members:
        every = [question_id(row["question"], row["choices"]) for row in _counted(loaded, member, mirror)]
        # split by subject, so that a question is on the same side however it is asked
        split = [part_of(identifier, salt=member.split, share=wanted.share) for identifier in every]
        chosen[member.name] = wanted.places(every, split)
        ids += [every[index] for index in chosen[member.name]]
        parts += [split[index] for index in chosen[member.name]]
    asked = {name: loaded[name] for name, kept in chosen.items() if kept}
    found = _ask(scorer, asked, {name: chosen[name] for name in asked})
    samples = {member.name: found.get(member.name, []) for member in members}
    return _answers(
        name,
        "acc",
        "cloze" if members[0].form == "cloze" else "official",
        [sample for member in members for sample in samples[member.name]],
        ids=ids,
        parts=parts,
        clusters=None,
        subjects=[member.subject for member in members for _ in chosen[member.name] if member.subject] or None,
    )


def word_perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    mirror: Path | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> Perplexity:
    """lm-eval's task `wikitext`: per article of WikiText-2's test set, its negative log-likelihood (nats) and words.

    `limit` takes the first articles. Words are counted as lm-eval does, in the article as it was before its spaces were
    put right. An article longer than the scorer's window is read in windows, each without memory of the one before.
    Raises as `evaluate`, and GovernError where the model's likelihoods are not numbers.
    """
    with quiet(offline=mirror is not None):
        scorer = Scorer(model, tokenizer, progress=progress)
        scorer.stage = f"read {WIKITEXT}"
        loaded = load_official((WIKITEXT_TASK,), mirror)
        pages = [row["page"] for row in _counted(loaded, WIKITEXT_TASK, mirror)][:limit]
        samples = _ask(scorer, loaded, {WIKITEXT: list(range(len(pages)))})[WIKITEXT]
    read = [sample["word_perplexity"] for sample in samples]
    if not all(np.isfinite(likelihood) for likelihood, _ in read):
        raise GovernError(
            "the model's likelihoods are not numbers, so it is broken and its perplexity has no value",
            where=WIKITEXT,
            hint="Lower the coefficient or the learning rate and apply again.",
        )
    return Perplexity(
        task=WIKITEXT,
        ids=tuple(sha256_bytes(page.encode())[:16] for page in pages),
        nll=tuple(-float(likelihood) for likelihood, _ in read),
        tokens=tuple(int(words) for _, words in read),
        unit="word",
    )


def count_official(paths: Sequence[str], mirror: Path) -> dict[str, int]:
    """How many questions each official task has in a mirror's data sets, by task, for data sets by their hub path.

    Raises as `evaluate` does.
    """
    singles = [members[0] for members in OFFICIAL.values() if len(members) == 1 and members[0].form == "letters"]
    singles.append(WIKITEXT_TASK)
    counts: dict[str, int] = {}
    for path in paths:
        members = tuple(member for member in singles if member.dataset.path == path)
        with quiet(offline=True):
            loaded = load_official(members, mirror)
            counts |= {member.name: len(_counted(loaded, member, mirror)) for member in members}
    return counts


def _counted(loaded: Mapping[str, ConfigurableTask], member: OfficialTask, mirror: Path | None) -> datasets.Dataset:
    """A task's questions. Raises IntegrityError where they are not as many as published."""
    rows = loaded[member.name].test_docs()
    if len(rows) != member.questions:
        raise IntegrityError(
            f"{member.name} holds {len(rows)} questions instead of {member.questions}",
            where=str(mirror / member.dataset.path) if mirror else member.dataset.path,
            hint="Lay the mirror out again from complete data.",
        )
    return rows


def load_official(members: tuple[OfficialTask, ...], mirror: Path | None) -> dict[str, ConfigurableTask]:
    """Load lm-eval's official tasks over pinned or mirrored data.

    `datasets` remembers a local folder by its name and would serve the rows of an older one, so a mirror's cache is
    kept by its content.
    """
    dataset = members[0].dataset
    if mirror is None:
        where: dict[str, Any] = {"dataset_kwargs": {"revision": dataset.revision}}
    else:
        folder = (mirror / dataset.path).absolute()
        cache = cache_folder() / "mirrors" / mirror_digest(folder)
        where = {"dataset_path": str(folder), "dataset_kwargs": {"cache_dir": str(cache)}}
    overlay = {"group": _OVERLAY, "task": [member.name for member in members], **where}
    try:
        with tempfile.TemporaryDirectory() as folder_name:
            # a group in a file hands its data set to its members; one given as a dict does not
            (Path(folder_name) / "overlay.yaml").write_text(json.dumps(overlay), encoding="utf-8")
            manager = TaskManager(include_defaults=False, include_path=[*_OFFICIAL_FOLDERS, folder_name])
            loaded = manager.load([_OVERLAY])
    except Exception as error:  # whatever `datasets` and the hub's client raise: there is no common class
        raise SourceError(
            f"the official questions of {members[0].name} cannot be loaded: {type(error).__name__}",
            where=str(mirror / dataset.path) if mirror else f"hf:{dataset.path}",
            hint="With a connection they come from the hub. Without one, lay them out in a folder and name it with "
            f"--mirror (MIRROR/{dataset.path}).",
        ) from error
    return dict(loaded["tasks"])


def _ask(
    scorer: Scorer, tasks: Mapping[str, ConfigurableTask], indices: Mapping[str, list[int]]
) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's samples by task, each list in the order of the questions. `indices` limits a task to some of them."""
    # no bootstrap: intervals come from our own bounds
    found: dict[str, Any] = harness_evaluate(
        lm=scorer,
        task_dict={"tasks": dict(tasks)},
        samples=dict(indices) if indices else None,
        bootstrap_iters=0,
        log_samples=True,
    )
    for samples in found["samples"].values():
        for sample in samples:
            sample["cut"] = any(tuple(pair) in scorer.cut for pair in sample["arguments"])
            sample["merged"] = any(tuple(pair) in scorer.merged for pair in sample["arguments"])
    return {name: sorted(samples, key=lambda sample: sample["doc_id"]) for name, samples in found["samples"].items()}


def _answers(
    name: str,
    metric: Metric,
    kind: TaskKind,
    samples: Sequence[Mapping[str, Any]],
    *,
    ids: Sequence[str],
    parts: Sequence[Part],
    clusters: Sequence[str] | None,
    subjects: Sequence[str] | None = None,
) -> Answers:
    scores = [np.array([likelihood for likelihood, _ in sample["filtered_resps"]]) for sample in samples]
    if not all(np.isfinite(likelihoods).all() for likelihoods in scores):
        raise GovernError(
            "the model's scores are not numbers, so it is broken and nothing can be said of what it knows",
            where=f"task {name}",
            hint="Lower the coefficient or the learning rate and apply again.",
        )
    flags = {name: tuple(sample[name] for sample in samples) for name in ("cut", "merged")}
    refuse_cut(name, sum(flags["cut"]), len(samples))
    if metric == "acc_norm":
        # lm-eval's length: characters of the choice, without the space before it
        lengths = [np.array([len(choice) for choice in sample["doc"]["options"]], dtype=float) for sample in samples]
        scores = [likelihoods / length for likelihoods, length in zip(scores, lengths, strict=True)]
    return Answers(
        task=name,
        metric=metric,
        kind=kind,
        ids=tuple(ids),
        clusters=None if clusters is None else tuple(clusters),
        parts=tuple(parts),
        correct=tuple(bool(sample[metric]) for sample in samples),
        chosen=tuple(int(likelihoods.argmax()) for likelihoods in scores),
        choices=tuple(len(likelihoods) for likelihoods in scores),
        subjects=None if subjects is None else tuple(subjects),
        **{name: flagged if any(flagged) else None for name, flagged in flags.items()},
    )


@contextmanager
def quiet(*, offline: bool) -> Iterator[None]:
    """Silence lm-eval's and datasets' bars and remarks, and where all data are local keep them off the network."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bar = lm_eval.api.task.tqdm
    hidden, was_offline = datasets.are_progress_bars_disabled(), datasets.config.HF_HUB_OFFLINE
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        lm_eval.api.task.tqdm = functools.partial(bar, disable=True)
        datasets.disable_progress_bars()
        datasets.config.HF_HUB_OFFLINE = offline or was_offline
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        lm_eval.api.task.tqdm = bar
        if not hidden:
            datasets.enable_progress_bars()
        datasets.config.HF_HUB_OFFLINE = was_offline
