"""Question sets: a policy's own ones from JSONL files, and how any set is split into selection and certification."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

from govern.digests import canonical_digest, sha256_file
from govern.errors import UsageError
from govern.evaluation.answers import Part
from govern.evaluation.official import OFFICIAL, WIKITEXT, WIKITEXT_TASK, is_official
from govern.records import TaskIdentity

Use = Literal["certification", "selection", "split"]

_EXPECTED = 'Each line is one JSON object: {"question": "…", "choices": ["…", "…"], "answer": 0}.'


@dataclass(frozen=True)
class OwnTask:
    """A question set of the policy's own.

    `letters` shows the choices and asks for one's letter; `cloze` shows the question alone and compares how likely
    each choice is to follow it. `cluster` names the column that says what a question is about, where several
    questions are about one thing. `use` says what the questions are for: `split` divides them by hash.
    """

    name: str
    file: Path
    kind: Literal["letters", "cloze"]
    cluster: str | None = None
    use: Use = "certification"


@dataclass(frozen=True)
class Question:
    """One question. `id` is the first 16 hex characters of the SHA-256 over its text and choices."""

    id: str
    text: str
    choices: tuple[str, ...]
    answer: int
    cluster: str | None


def as_asked(kind: str, question: Question) -> tuple[str, tuple[str, ...]]:
    """A question as text to go on from, and the texts that are compared after it, each behind a space.

    Letters are asked for as the official tasks do; cloze compares the choices as continuations of the question.
    """
    if kind == "cloze":
        return question.text.strip(), question.choices
    letters = tuple(ascii_uppercase[: len(question.choices)])
    listed = "".join(f"\n{letter}. {choice}" for letter, choice in zip(letters, question.choices, strict=True))
    return f"{question.text.strip()}{listed}\nAnswer:", letters


def question_id(text: str, choices: list[str] | tuple[str, ...]) -> str:
    """A question's id: the first 16 hex characters of the SHA-256 over the RFC 8785 form of its text and choices."""
    return canonical_digest([text, list(choices)])[:16]


def load_questions(task: OwnTask) -> tuple[Question, ...]:
    """Read and check a task's questions, in the order of the file. Blank lines are skipped.

    Raises UsageError naming file:line (never the text) for a line that is not a question, and for a duplicate.
    """
    try:
        lines = task.file.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UsageError(
            f"the questions of task {task.name} are missing",
            where=str(task.file),
            hint="Correct `file` in the policy; it is relative to the policy's folder.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the questions of task {task.name} cannot be read: {type(error).__name__}",
            where=str(task.file),
            hint="The file must be UTF-8 text. " + _EXPECTED,
        ) from None
    questions: list[Question] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        question = _question(line, cluster=task.cluster, where=f"{task.file}:{number}")
        if question.id in seen:
            raise UsageError(
                f"this question repeats line {seen[question.id]}",
                where=f"{task.file}:{number}",
                hint="Remove one of the two: a repeated question counts twice without telling anything new.",
            )
        seen[question.id] = number
        questions.append(question)
    if not questions:
        raise UsageError(f"task {task.name} has no questions", where=str(task.file), hint=_EXPECTED)
    return tuple(questions)


def part_of(key: str, *, salt: str, share: float) -> Part:
    """The part of a question, by hash: `key` is its cluster, or its id where questions are independent.

    `salt` is the task's name and `share` the expected share of selection questions. The same key is always in the
    same part, so a fact never sits on both sides, and adding questions moves none.
    """
    position = int.from_bytes(hashlib.sha256(f"{salt}\n{key}".encode()).digest()[:8], "big") / 2**64
    return "selection" if position < share else "certification"


def own_part(task: OwnTask, question: Question, *, share: float) -> Part:
    """The part of one of a task's own questions."""
    if task.use == "split":
        return part_of(question.cluster or question.id, salt=task.name, share=share)
    return task.use


def questions_of(task: OwnTask, part: Part, *, share: float) -> tuple[Question, ...]:
    """The questions of an own task that choose settings, or those that certify, in the order of the file."""
    return tuple(each for each in load_questions(task) if own_part(task, each, share=share) == part)


def identify_task(task: OwnTask | str, *, share: float, mirror: Path | None = None) -> TaskIdentity:
    """Identify a question set by content.

    An own task's digest covers its questions, kind, clusters and parts. An official task without a mirror is
    identified by its data sets' pinned revisions, and its part sizes are the expected ones (the split needs the
    questions); with a mirror, by the mirror's content as well.
    Raises UsageError for an unknown name, a bad file or a mirror that is not there.
    """
    if isinstance(task, str):
        return _identify_official(task, share=share, mirror=mirror)
    questions = load_questions(task)
    parts = [own_part(task, question, share=share) for question in questions]
    rows = [
        [question.id, question.answer, question.cluster, part] for question, part in zip(questions, parts, strict=True)
    ]
    return TaskIdentity(
        name=task.name,
        kind=task.kind,
        source=f"file:{task.file.name}",
        digest=canonical_digest({"kind": task.kind, "questions": rows}),
        selection=parts.count("selection"),
        certification=parts.count("certification"),
        clusters=len({question.cluster for question in questions}) if task.cluster else None,
    )


def mirror_digest(folder: Path) -> str:
    """SHA-256 over the canonical list of (relative path, SHA-256) of all files below `folder`.

    Raises UsageError where there is no such folder or nothing in it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise UsageError(
            "the mirror holds no data here",
            where=str(folder),
            hint="Lay the official data set out as MIRROR/cais/wmdp, MIRROR/cais/mmlu or "
            "MIRROR/EleutherAI/wikitext_document_level.",
        )
    return canonical_digest([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


def _identify_official(name: str, *, share: float, mirror: Path | None) -> TaskIdentity:
    if not is_official(name):
        raise UsageError(
            f"there is no official task {name!r}",
            hint="Official tasks are wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, mmlu_SUBJECT, both with _continuation, and "
            "wikitext. "
            "Own tasks are listed under `tasks:` in the policy.",
        )
    members = (WIKITEXT_TASK,) if name == WIKITEXT else OFFICIAL[name]
    dataset = members[0].dataset
    content: dict[str, Any] = {"tasks": [member.name for member in members], "share": share}
    if mirror is None:
        content["revision"] = dataset.revision
        source = f"hf:{dataset.path}@{dataset.revision}"
    else:
        content["mirror"] = mirror_digest(mirror / dataset.path)
        source = f"mirror:{dataset.path}"
    total = sum(member.questions for member in members)
    selection = 0 if name == WIKITEXT else round(total * share)  # of its articles, all certify
    return TaskIdentity(
        name=name,
        kind="official",
        source=source,
        digest=canonical_digest(content),
        selection=selection,
        certification=total - selection,
        clusters=None,
    )


def _question(line: str, *, cluster: str | None, where: str) -> Question:
    try:
        row = json.loads(line)
    except ValueError:
        raise UsageError("this line is not JSON", where=where, hint=_EXPECTED) from None
    if not isinstance(row, dict):
        raise UsageError("this line is not a JSON object", where=where, hint=_EXPECTED)
    text, choices, answer = row.get("question"), row.get("choices"), row.get("answer")
    if not isinstance(text, str) or not text.strip():
        raise UsageError("`question` must be a text", where=where, hint=_EXPECTED)
    if (
        not isinstance(choices, list)
        or not 2 <= len(choices) <= 26
        or not all(isinstance(choice, str) and choice.strip() for choice in choices)
    ):
        raise UsageError("`choices` must be a list of 2 to 26 texts", where=where, hint=_EXPECTED)
    if len(set(choices)) < len(choices):
        raise UsageError("two of the `choices` are equal", where=where, hint="Every choice must be a different one.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise UsageError(
            "`answer` must be the index of a choice",
            where=where,
            hint=f"Indices start at 0; this question has {len(choices)} choices, so the last is {len(choices) - 1}.",
        )
    fact = row.get(cluster) if cluster else None
    if cluster and (isinstance(fact, bool) or not isinstance(fact, str | int) or fact == ""):
        raise UsageError(
            f"the cluster column `{cluster}` must be a text or a whole number",
            where=where,
            hint="It says which fact the question is about; every question of the task needs it.",
        )
    return Question(
        id=question_id(text, choices),
        text=text,
        choices=tuple(choices),
        answer=answer,
        cluster=None if fact is None else str(fact),
    )
