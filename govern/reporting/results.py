"""What was measured, gated or not: question sets, subjects, neighbours of the hazard, the deployed model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from govern.records import TaskResult, Verdict
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.charts import ChangeChart, result_chart
from govern.reporting.document import RunDocument
from govern.reporting.facts import Documents, Fact, Field, Listing, Table, between, code, number
from govern.reporting.gates import estimate

VALID_UNTIL: Final = Field(
    "report/valid_until", "To be repeated after", forms.or_else(forms.utc, "the policy sets no end")
)

_PARTS = {"selection": "chooses settings", "certification": "certifies", "all": "all questions"}
_SEQUENTIAL = (
    number("look", "Looked, of several planned looks"),
    number("looks", "Looks planned"),
    number("asked", "Certifying questions asked"),
    number("questions", "Certifying questions there are"),
    number("failing", "Confidence of the bounds that could fail a gate", forms.percent),
    Field("stopped", "Stopped early"),
    Field("unjudged", "Gates that were not looked at"),
)
_SCORER = (
    number("n", "Likelihoods of each model recomputed by a plain forward"),
    number("base", "Largest difference of the base model, nats a token", forms.short),
    number("edited", "Largest difference of the edited model, nats a token", forms.short),
    number("allowed", "Difference that rounding may come to", forms.short),
)
_SUBJECTS = (
    Field("subject", "Subject", beside=Field("task", "Task")),
    number("n", "n"),
    number("before", "Before", forms.percent),
    number("after", "After", forms.percent),
    number("drop", "Drop", forms.points),
    number("bound", "At least", forms.points),
    number("p", "p", forms.short),
    Field("lost", "Lost"),
)
ENDPOINT = Listing(
    "The deployed model, asked over the network: whether it answers as the verified one",
    "/verdict/endpoint",
    (
        Field("task", "Question set"),
        code("url", "Endpoint"),
        code("model", "Model"),
        Field("form", "Form"),
        number("n", "n"),
        number("unanswered", "No letter"),
        number("as_edited", "As edited"),
        number("telling", "Telling"),
        number("as_base", "As base"),
    ),
)
VERIFICATIONS = Listing(
    "Every verification of this run, the reported one last",
    "/report/verifications",
    (
        Field("time", "Time", forms.utc),
        Field("verdict", "Verdict", forms.VERDICTS.__getitem__),
        number("attempt", "Attempt"),
        Field("harness", "lm-eval"),
        Field("govern", "govern"),
    ),
)
NEIGHBOURS = Listing(
    "The subjects next to the hazard, pooled question by question: what a removal damages first",
    "/verdict/neighbours",
    (
        Field("hazard", "Hazard", beside=Field("task", "Task")),
        Field("subjects", "Subjects"),
        number("n", "n"),
        estimate("before", "acc"),
        estimate("after", "acc"),
        number("drop", "Drop", forms.points, beside=between("drop_interval", forms.span(forms.points, " to "))),
        Field("method", "Interval by"),
    ),
)


class ResultView(Record):
    """One question set before and after, gated or not."""

    chart: ChangeChart
    task: Fact
    form: Fact | None
    metric: Fact
    part: Fact
    questions: Fact
    clusters: Fact
    chance: Fact
    before: Fact
    after: Fact


def result_views(document: RunDocument, documents: Documents) -> tuple[ResultView, ...]:
    """Every question set and every part of one."""
    places = {task.name: index for index, task in reversed([*enumerate(document.plan.tasks)])}
    return tuple(
        _result(documents, f"/verdict/results/{index}", result, places.get(result.task))
        for index, result in enumerate(document.verdict.results)
    )


def _result(documents: Documents, here: str, result: TaskResult, task: int | None) -> ResultView:
    fields = {
        "task": Field("task", "Question set"),
        "metric": Field("metric", "Metric", forms.METRICS.__getitem__),
        "part": Field("part", "Part", _PARTS.__getitem__),
        "questions": number("n", "n"),
        "clusters": number("clusters", "Clusters", forms.or_else(forms.count, "none")),
        "chance": number("chance", "Chance", forms.or_else(forms.percent, "none")),
        "before": estimate("before", result.metric),
        "after": estimate("after", result.metric),
    }
    return ResultView(
        chart=result_chart(result),
        form=None if task is None else documents.fact(f"/plan/tasks/{task}/kind", "Form"),
        **{name: documents.show(field, here) for name, field in fields.items()},
    )


def _misread(documents: Documents, verdict: Verdict) -> Iterator[Fact]:
    """Questions that no model read whole, and choices that were scored in part; nothing where there are none."""
    for index, result in enumerate(verdict.results):
        here, part = f"/verdict/results/{index}", f"{result.task} ({_PARTS[result.part]})"
        if result.cut:
            label = f"Longer than the model's context, read without their beginning: questions of {part}"
            yield documents.show(number("cut", label), here)
        if result.merged:
            label = f"Scored as lm-eval does, without a token that question and choice share: questions of {part}"
            yield documents.show(number("merged", label), here)


def results_facts(document: RunDocument, documents: Documents) -> tuple[Fact, ...]:
    """What all results have in common; of a verification that could stop early, how far it looked."""
    verdict = document.verdict
    anew = number("verdict/held_back_seed", "Held-back text sampled anew, seed", forms.plain)
    return (
        *documents.rows(
            (
                number("verdict/confidence", "Confidence of all bounds and intervals", forms.percent),
                number("verdict/attempt", "Certification attempt on these question sets"),
                code("verdict/answers_sha256", "SHA-256 of the stored answers"),
                number("verdict/seconds", "Time to verify", forms.seconds),
                *((anew,) if verdict.held_back_seed is not None else ()),
            )
        ),
        *_misread(documents, verdict),
        *(documents.rows(_SCORER, "/verdict/scorer") if verdict.scorer else ()),
        *(documents.rows(_SEQUENTIAL, "/verdict/sequential") if verdict.sequential else ()),
        documents.show(VALID_UNTIL),
    )


def subjects(document: RunDocument, documents: Documents) -> Table:
    """An official task's subjects, those that lost first, then by the drop."""
    found = document.verdict.subjects
    places = sorted(range(len(found)), key=lambda index: (not found[index].lost, -found[index].drop))
    return documents.table(
        "Each subject's certifying questions, the largest drop first. Bound and p are Holm's over all subjects",
        _SUBJECTS,
        (f"/verdict/subjects/{index}" for index in places),
    )
