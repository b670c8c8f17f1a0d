"""An additional check: whether a deployed model answers the forget questions like the one that was verified.

Ceilings are held against what the endpoint says when it is asked for a letter, as whoever uses it would ask. The base
model is asked in the same way, so that a form of question that it could not answer either decides nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from govern.digests import canonical_digest, sha256_bytes
from govern.evaluation.answers import Answers
from govern.evaluation.endpoint import KEY_VARIABLE, Endpoint, Form, form_of, generate, letter_in, prompt_of
from govern.evaluation.questions import OwnTask, Question
from govern.gates.ceiling import KIND as CEILING
from govern.policy import ForgetGate
from govern.progress import Progress
from govern.records import ENDPOINT, EndpointCheck, GateResult
from govern.workflow.removal.plan import question_sets
from govern.workflow.verification.measure import ModelUnderTest, certifying_questions

_MOST_UNANSWERED = 0.1


def open_endpoint(url: str, model: str) -> Endpoint:
    """An endpoint with the key from the environment, if there is one. Raises UsageError for what is no endpoint."""
    return Endpoint(url, model, os.environ.get(KEY_VARIABLE) or None)


@dataclass(frozen=True)
class EndpointFinding:
    """What came of one task: the gate, and how alike the answers were."""

    gate: GateResult
    record: EndpointCheck


@dataclass(frozen=True)
class EndpointExam:
    """One task's certifying questions, with what the base model said to them."""

    gate: ForgetGate
    task: OwnTask | str
    digest: str
    questions: tuple[Question, ...]
    endpoint: Endpoint
    form: Form
    base: Answers

    def ask(self, progress: Progress) -> Answers:
        """What the endpoint says. Raises SourceError where it does not answer."""
        prompts = [prompt_of(question, self.form) for question in self.questions]
        stage = f"ask the endpoint {self.gate.task}"
        said = self.endpoint.ask(prompts, self.form, stage=stage, progress=progress)
        return _answers(self.gate.task, self.task, self.questions, said)

    def check(self, deployed: Answers, edited: ModelUnderTest) -> EndpointFinding:
        """Ask the edited model in the same way, hold the endpoint against the ceiling, and compare the three."""
        here, there, base = self._generated(edited).chosen, deployed.chosen, self.base.chosen
        gate = CEILING.judge(
            self.base,
            deployed,
            threshold=self.gate.ceiling,
            confidence=edited.loaded.policy.verification.confidence,
        )
        unanswered = there.count(-1)
        if gate.verdict == "pass" and unanswered > _MOST_UNANSWERED * len(there):
            reason = (
                f"{gate.reason} But a pass would say nothing: {unanswered} of the endpoint's {len(there)} answers "
                "name no choice."
            )
            gate = gate.model_copy(update={"verdict": "inconclusive", "reason": reason})
        telling = [index for index in range(len(here)) if here[index] != base[index]]
        record = EndpointCheck(
            task=self.gate.task,
            url=self.endpoint.url,
            model=self.endpoint.model,
            form=self.form,
            n=len(there),
            unanswered=unanswered,
            as_edited=sum(ours == theirs for ours, theirs in zip(here, there, strict=True)),
            telling=len(telling),
            as_base=sum(there[index] == base[index] for index in telling),
        )
        return EndpointFinding(gate, record)

    def _generated(self, model: ModelUnderTest) -> Answers:
        return _generated(model, self.gate.task, self.digest, self.task, self.questions, self.form)


def endpoint_exams(base: ModelUnderTest, endpoint: Endpoint) -> tuple[EndpointExam, ...]:
    """Put the certifying questions of every ceiling to the base model, asked for a letter, as the endpoint will be."""
    policy = base.loaded.policy
    own = {task.name: task for task in question_sets(base.loaded) if isinstance(task, OwnTask)}
    digests = {task.name: task.digest for task in base.planned.plan.tasks}
    form = form_of(base.tokenizer)
    exams = []
    for gate in policy.verification.forget:
        task = own.get(gate.task, gate.task)
        questions = certifying_questions(task, base.loaded, base.mirror)
        said = _generated(base, gate.task, digests[gate.task], task, questions, form)
        exams.append(EndpointExam(gate, task, digests[gate.task], questions, endpoint, form, said))
    return tuple(exams)


def _generated(
    model: ModelUnderTest, name: str, digest: str, task: OwnTask | str, questions: tuple[Question, ...], form: Form
) -> Answers:
    """What a model in memory says, as it is remembered or by asking it."""
    prompts = [prompt_of(question, form) for question in questions]

    def ask() -> tuple[Answers, ...]:
        stage = f"answer {name} in words"
        said = generate(model.model, model.tokenizer, prompts, form, stage=stage, progress=model.progress)
        return (_answers(name, task, questions, said),)

    (answers,) = model.memory.answers(f"{name} in words", canonical_digest([digest, form, prompts]), Answers, ask)
    return answers


def _answers(name: str, task: OwnTask | str, questions: tuple[Question, ...], said: list[str]) -> Answers:
    chosen = [letter_in(text, len(question.choices)) for text, question in zip(said, questions, strict=True)]
    clustered = isinstance(task, OwnTask) and task.cluster is not None
    return Answers(
        task=f"{name}{ENDPOINT}",
        metric="acc",
        kind="letters",
        ids=tuple(question.id for question in questions),
        clusters=tuple(sha256_bytes((each.cluster or "").encode())[:16] for each in questions) if clustered else None,
        parts=("certification",) * len(questions),
        correct=tuple(letter == question.answer for letter, question in zip(chosen, questions, strict=True)),
        chosen=tuple(chosen),
        choices=tuple(len(question.choices) for question in questions),
    )
