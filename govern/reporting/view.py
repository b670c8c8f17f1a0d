"""What a report says, before it is HTML or Markdown: facts in the order in which a reviewer needs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from pydantic import Field

from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.gates.registry import GATES
from govern.records import (
    AttackResult,
    GateName,
    GateResult,
    Plan,
    Removal,
    SubjectResult,
    Sweep,
    TaskResult,
    Verdict,
    VerdictValue,
    Verification,
    Waiver,
)
from govern.records.base import Record
from govern.reporting.charts import (
    ChangeChart,
    CurveChart,
    attack_chart,
    curve_charts,
    gate_chart,
    result_chart,
    sample,
)
from govern.reporting.crosswalk import CrosswalkView, build_crosswalk
from govern.reporting.facts import (
    METRICS,
    NO_BREAK_SPACE,
    UNITS,
    VERDICTS,
    Column,
    Documents,
    Fact,
    Form,
    Table,
    count,
    interval,
    measure,
    mebibytes,
    or_else,
    percent,
    plain,
    points,
    seconds,
    short,
    telling_apart,
    utc,
)
from govern.reporting.reason import ReasonView, build_reason
from govern.reporting.robustness import AttackView, attack_views, robustness, untried
from govern.reporting.sections import SECTIONS, Section
from govern.reporting.text import Line, Text

_CURVE_ROWS = 9


class Signer(Record):
    """Whose key signs the report. `fingerprint` is the SHA-256 of the public key's DER form, in hex."""

    fingerprint: str
    throwaway: bool


class FailedRun(Record):
    """An attempt that came to nothing: an earlier run of the policy that failed or that was discarded."""

    run: str
    type: str
    time: str
    message: str | None


class Issue(Record):
    """What the report adds to plan, removal and verdict: who issues it, when, and where the log stood.

    `waivers` are those that had been granted for earlier reports of the run; it is left out of the JSON without any.
    """

    run: str
    issued: str
    audit_origin: str
    audit_seq: int
    audit_leaf: str
    signer: Signer
    failed_runs: tuple[FailedRun, ...]
    verifications: tuple[Verification, ...] = ()
    valid_until: str | None = None
    waivers: tuple[Waiver, ...] = Field(default=(), exclude_if=lambda waivers: not waivers)


class GateView(Record):
    """One gate: its facts and its picture. `verdict` chooses colour and shape; the word is in `outcome`."""

    verdict: VerdictValue
    chart: ChangeChart
    task: Fact
    rule: Fact
    metric: Fact
    before: Fact
    after: Fact
    bound: Fact
    threshold: Fact
    questions: Fact
    clusters: Fact
    method: Fact
    outcome: Fact
    reason: Fact


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


class Command(Record):
    """A step of checking the report: what it establishes and what to type."""

    purpose: Line
    command: Line


class Said(Record):
    """What the policy says of one thing that only people can say; None where it is silent."""

    label: Line
    fact: Fact | None


class ReportView(Record):
    """A whole report. `attack_gates` are the attacks that decide; `untried` says why none was made, or nothing."""

    format_version: Literal[1] = 1
    title: Fact
    verdict: VerdictValue
    outcome: Fact
    sentence: Line
    run: Fact
    issued: Fact
    throwaway: bool
    summary: tuple[Fact, ...]
    sections: tuple[Section, ...]
    gates: tuple[GateView, ...]
    attack_gates: tuple[GateView, ...]
    scope: tuple[Fact, ...]
    rationale: Fact
    persons: tuple[Fact, ...]
    model_before: tuple[Fact, ...]
    model_after: tuple[Fact, ...]
    policy: tuple[Fact, ...]
    policy_text: Text
    waivers: Table
    corpora: tuple[tuple[Fact, ...], ...]
    overlap: Table
    questions: Table
    warnings: tuple[Fact, ...]
    method: tuple[Fact, ...]
    parameters: tuple[Fact, ...]
    reason: ReasonView | None
    curve: Table
    curve_charts: tuple[CurveChart, ...]
    results: tuple[ResultView, ...]
    results_facts: tuple[Fact, ...]
    subjects: Table
    neighbours: Table
    endpoint: Table
    robustness: Table
    attacks: tuple[AttackView, ...]
    untried: Line
    side_effects: tuple[Fact, ...]
    figures: tuple[Fact, ...]
    tensors: Table
    tensor_shares: tuple[str, ...]
    not_claimed: tuple[Fact, ...]
    said: tuple[Said, ...]
    monitoring: tuple[Fact, ...]
    monitoring_commands: tuple[Command, ...]
    rollback: tuple[Fact, ...]
    rollback_commands: tuple[Command, ...]
    failed_runs: Table
    verifications: Table
    environment: tuple[Fact, ...]
    packages: tuple[Fact, ...]
    audit: tuple[Fact, ...]
    commands: tuple[Command, ...]
    sign_offs: tuple[Line, ...]
    crosswalk: tuple[CrosswalkView, ...]


def build_view(
    *,
    plan: Plan,
    removal: Removal,
    verdict: Verdict,
    policy_text: str,
    run: str,
    issued: str,
    audit_origin: str,
    audit_seq: int,
    audit_leaf: str,
    signer: Signer,
    failed_runs: tuple[FailedRun, ...] = (),
    sweep: Sweep | None = None,
    verifications: tuple[Verification, ...] = (),
    valid_until: str | None = None,
    waivers: tuple[Waiver, ...] = (),
) -> ReportView:
    """Arrange the records of one run for reading.

    `issued` is UTC, RFC 3339. `audit_origin`, `audit_seq` and `audit_leaf` name the last event of the log before the
    report was issued. `sweep` is the one that chose the plan's parameters. `verifications` are those of this run, the
    reported one last; it holds until `valid_until` (UTC, RFC 3339), None for no end. `waivers` were granted for earlier
    reports of this run. Hazardous text is in none of the records and so in no report.
    """
    issue = Issue(
        run=run,
        issued=issued,
        audit_origin=audit_origin,
        audit_seq=audit_seq,
        audit_leaf=audit_leaf,
        signer=signer,
        failed_runs=failed_runs,
        verifications=verifications,
        valid_until=valid_until,
        waivers=waivers,
    )
    documents = Documents(
        {
            "plan": plan.to_json(),
            "removal": removal.to_json(),
            "verdict": verdict.to_json(),
            "report": issue.to_json(),
            **({"sweep": sweep.to_json()} if sweep else {}),
        }
    )
    fact = documents.fact
    drifts, figures = _figures(documents)
    return ReportView(
        title=fact("/plan/title", "Title"),
        verdict=verdict.verdict,
        outcome=fact("/verdict/verdict", "Verdict", VERDICTS.__getitem__, kind="verdict"),
        sentence=_sentence(verdict),
        run=fact("/report/run", "Run", kind="code"),
        issued=fact("/report/issued", "Issued", utc),
        throwaway=signer.throwaway,
        summary=_summary(documents, plan),
        sections=SECTIONS,
        gates=tuple(_gate(documents, index, gate, verdict.results) for index, gate in enumerate(verdict.gates)),
        attack_gates=tuple(
            _attack_gate(documents, index, found)
            for index, found in enumerate(verdict.stress)
            if found.verdict is not None
        ),
        scope=_scope(documents, plan),
        rationale=fact("/plan/rationale", "Rationale", kind="prose"),
        persons=(
            fact("/plan/owner/name", "Owner"),
            fact("/plan/owner/role", "Owner's role"),
            fact("/plan/reviews_required", "Sign-offs required", count, kind="number"),
            fact("/plan/review_roles", "By these roles"),
            fact("/report/signer/fingerprint", "Signed with key (SHA-256 of its DER form)", kind="code"),
            fact("/report/signer/throwaway", "Throw-away key"),
        ),
        model_before=_model(documents),
        model_after=(
            fact("/verdict/edited_model_digest", "Digest of the edited model", kind="code"),
            fact("/removal/delta_sha256", "SHA-256 of the delta", kind="code"),
            fact("/removal/base_model_digest", "Bound to the base model", kind="code"),
            fact("/removal/tensors", "Tensors changed", count, kind="number"),
            *_edited_elsewhere(documents, plan),
        ),
        policy=(
            fact("/plan/policy_name", "Name", kind="code"),
            fact("/plan/policy_digest", "Digest (SHA-256 of the RFC 8785 form)", kind="code"),
            fact("/plan/policy_sha256", "SHA-256 of the file", kind="code"),
        ),
        policy_text=policy_text,
        waivers=_waivers(documents, waivers),
        corpora=tuple(_corpus(documents, index) for index in range(len(plan.corpora))),
        overlap=_overlap(documents, plan),
        questions=_questions(documents, plan),
        warnings=tuple(fact(f"/plan/warnings/{index}", "Warning") for index in range(len(plan.warnings))),
        method=_method(documents),
        parameters=documents.facts("/plan/parameters"),
        reason=build_reason(documents, sweep) if sweep else None,
        curve=_curve(documents, removal),
        curve_charts=curve_charts(removal.curve),
        results=tuple(_result(documents, index, plan, result) for index, result in enumerate(verdict.results)),
        results_facts=(
            fact("/verdict/confidence", "Confidence of all bounds and intervals", percent, kind="number"),
            fact("/verdict/attempt", "Certification attempt on these question sets", count, kind="number"),
            fact("/verdict/answers_sha256", "SHA-256 of the stored answers", kind="code"),
            fact("/verdict/seconds", "Time to verify", seconds, kind="number"),
            *(
                [fact("/verdict/held_back_seed", "Held-back text sampled anew, seed", plain, kind="number")]
                if verdict.held_back_seed is not None
                else []
            ),
            *_sequential(documents, verdict),
            *_scorer(documents, verdict),
            *_misread(documents, verdict),
            fact("/report/valid_until", "To be repeated after", or_else(utc, "the policy sets no end")),
        ),
        subjects=_subjects(documents, verdict.subjects),
        neighbours=_neighbours(documents, verdict),
        endpoint=_endpoint(documents, verdict),
        robustness=robustness(documents, verdict.stress),
        attacks=attack_views(documents, verdict.stress),
        untried=untried(verdict),
        side_effects=drifts,
        figures=figures,
        tensors=_tensors(documents, removal),
        tensor_shares=_shares([tensor.relative_change for tensor in removal.tensors]),
        not_claimed=_not_claimed(documents, plan, removal, verdict, signer, sweep),
        said=_said(documents, plan),
        monitoring=(
            *(
                [fact("/plan/valid_days", "A verification holds for, days", count, kind="number")]
                if plan.valid_days
                else []
            ),
            fact("/report/valid_until", "To be repeated after", or_else(utc, "the policy sets no end")),
        ),
        monitoring_commands=_monitoring_commands(run, plan, issued),
        rollback=(
            fact("/removal/base_model_digest", "The model to go back to", kind="code"),
            fact("/removal/delta_sha256", "The delta that made the edited one of it", kind="code"),
            fact("/removal/edited_model_digest", "The model to take out of use", kind="code"),
        ),
        rollback_commands=_rollback_commands(run, removal.base_model_digest),
        failed_runs=_failed_runs(documents, failed_runs),
        verifications=_verifications(documents, verifications),
        environment=(
            fact("/plan/environment/govern", "govern"),
            fact("/plan/environment/commit", "Commit of the code", or_else(plain, "an installed release"), kind="code"),
            fact("/plan/environment/dirty", "Uncommitted changes", or_else(plain, "not applicable")),
            fact("/plan/environment/python", "Python"),
            fact("/plan/environment/platform", "Platform"),
            fact("/plan/environment/processor", "Processor"),
            fact("/plan/environment/device", "Device"),
            fact("/plan/environment/threads", "Threads", count, kind="number"),
        ),
        packages=documents.facts("/plan/environment/packages"),
        audit=(
            fact("/report/audit_origin", "Log", kind="code"),
            fact("/report/audit_seq", "Event of the verification (counted from 0)", plain, kind="number"),
            fact("/report/audit_leaf", "Its leaf hash", kind="code"),
            fact("/verdict/plan_digest", "Digest of the plan", kind="code"),
        ),
        commands=_commands(run),
        sign_offs=_sign_offs(plan),
        crosswalk=build_crosswalk(plan, verdict),
    )


def _sentence(verdict: Verdict) -> str:
    judged = [gate.verdict for gate in verdict.gates]
    judged += [found.verdict for found in verdict.stress if found.verdict is not None]
    total = len(judged) + (len(verdict.sequential.unjudged) if verdict.sequential else 0)
    gates = f"{total} gate" if total == 1 else f"{total} gates"
    counts = {value: judged.count(value) for value in VERDICTS}
    if verdict.verdict == "pass":
        return "The gate of the policy is met." if total == 1 else f"All {gates} of the policy are met."
    if verdict.verdict == "fail":
        return f"{counts['fail']} of {gates} failed: the removal does not meet the policy."
    if not total:
        return "The policy has no gates, so nothing was decided."
    return f"{counts['inconclusive']} of {gates} could not be decided. This is not a pass."


def _summary(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    fact = documents.fact
    return (
        fact("/plan/hazard_domain", "What must go", beside=fact("/plan/hazard_category", "Category")),
        *_forget_topics(documents, plan),
        fact("/plan/model/source", "From the model", beside=fact("/plan/model/architecture", "Architecture")),
        fact("/removal/method", "By", beside=fact("/removal/solver", "Solver", _solver)),
        fact("/plan/owner/name", "Answerable", beside=fact("/plan/owner/role", "Role")),
        fact(
            "/plan/reviews_required",
            "Sign-offs required",
            count,
            kind="number",
            beside=fact("/plan/review_roles", "Roles"),
        ),
        fact(
            "/verdict/attempt",
            "Certification attempt",
            count,
            kind="number",
            beside=fact("/verdict/confidence", "Confidence", lambda share: f"at {percent(share)} confidence"),
        ),
    )


def _solver(value: str | None) -> str:
    return "no separate solver" if value is None else f"{value.replace('_', ' ')} solver"


def _scope(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    fact = documents.fact
    return (
        fact("/plan/hazard_domain", "Domain"),
        fact("/plan/hazard_category", "Category"),
        *_request(documents, plan),
        *_forget_topics(documents, plan),
    )


def _request(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """The request that the policy serves; whose it is, nobody can read here."""
    if plan.request is None:
        return ()
    fact = documents.fact
    return (
        fact("/plan/request/id", "Request", kind="code", beside=fact("/plan/request/kind", "Kind")),
        fact("/plan/request/subjects", "Subjects, known by salted fingerprints alone", count, kind="number"),
        fact("/plan/request/fingerprints", "SHA-256 of the fingerprints", kind="code"),
    )


def _forget_topics(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """The topics that the policy names, each once; one that it leaves unnamed tells a reader nothing."""
    first = {corpus.topic: index for index, corpus in reversed([*enumerate(plan.corpora)]) if corpus.role == "forget"}
    return tuple(
        documents.fact(f"/plan/corpora/{index}/topic", "Topic")
        for topic, index in sorted(first.items(), key=lambda item: item[1])
        if topic not in ("", "default")
    )


def _model(documents: Documents) -> tuple[Fact, ...]:
    fact = documents.fact
    return (
        fact("/plan/model/source", "Source", kind="code"),
        fact("/plan/model/revision", "Revision", or_else(plain, "none: bound by the digest alone"), kind="code"),
        fact("/plan/model/digest", "Digest of the base model", kind="code"),
        fact("/plan/model/architecture", "Architecture"),
        fact("/plan/model/parameters", "Parameters", count, kind="number"),
        fact("/plan/model/layers", "Layers", count, kind="number"),
        fact("/plan/model/hidden_size", "Hidden size", count, kind="number"),
        fact("/plan/model/licence", "Licence"),
        fact("/plan/model/remote_code", "Runs code from the model's repository"),
    )


def _edited_elsewhere(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """The model as somebody else handed it in, where the removal was not made here."""
    if plan.edited is None:
        return ()
    fact = documents.fact
    return (
        fact("/plan/edited/source", "Edited elsewhere, handed in as", kind="code"),
        fact("/plan/edited/revision", "Its revision", or_else(plain, "none: bound by the digest alone"), kind="code"),
        fact("/plan/edited/digest", "Digest of its own files", kind="code"),
    )


def _gate(documents: Documents, index: int, gate: GateResult, results: Sequence[TaskResult]) -> GateView:
    here = f"/verdict/gates/{index}"
    fact = documents.fact
    kind, form = GATES[gate.kind], UNITS[GATES[gate.kind].unit]
    exact: Form = partial(form, decimals=telling_apart(gate.bound, gate.threshold, form))
    chance = next(
        (
            result.chance
            for result in results
            if (result.task, result.metric, result.part) == (gate.task, gate.metric, "certification")
        ),
        None,
    )
    return GateView(
        verdict=gate.verdict,
        chart=gate_chart(gate, chance=chance),
        task=fact(f"{here}/task", "Gate"),
        rule=fact(f"{here}/kind", "Rule", lambda _: kind.rule),
        metric=fact(f"{here}/metric", "Metric", METRICS.__getitem__),
        before=_estimate(documents, here, "before", gate.metric),
        after=_estimate(documents, here, "after", gate.metric),
        bound=fact(f"{here}/bound", kind.bound_name(gate.verdict), exact, kind="number"),
        threshold=fact(f"{here}/threshold", "Threshold", exact, kind="number"),
        questions=fact(f"{here}/n", "Documents" if gate.metric == "perplexity" else "Questions", count, kind="number"),
        clusters=fact(f"{here}/clusters", "Clusters", or_else(count, "none: independent"), kind="number"),
        method=fact(f"{here}/method", "Bound by"),
        outcome=fact(f"{here}/verdict", "Verdict", VERDICTS.__getitem__, kind="verdict"),
        reason=fact(f"{here}/reason", "Reason"),
    )


def _attack_gate(documents: Documents, index: int, found: AttackResult) -> GateView:
    """An attack with a limit, as a gate: the model before and after the attack, and the share that came back."""
    here = f"/verdict/stress/{index}"
    fact = documents.fact
    limit, bound = found.max_recovery or 0.0, found.bound
    exact: Form = partial(percent, decimals=1 if bound is None else telling_apart(bound, limit, percent))
    return GateView(
        verdict=found.verdict or "inconclusive",
        chart=attack_chart(found),
        task=fact(f"{here}/task", "Gate"),
        rule=fact(f"{here}/attack", "Rule", lambda _: MAX_RECOVERY.rule),
        metric=fact(f"{here}/name", "Metric", lambda name: f"accuracy, attack {name}"),
        before=fact(f"{here}/edited", "Edited", percent, kind="number"),
        after=fact(f"{here}/attacked", "Attacked", percent, kind="number"),
        bound=fact(f"{here}/bound", MAX_RECOVERY.bound_name(found.verdict), or_else(exact, "no bound"), kind="number"),
        threshold=fact(f"{here}/max_recovery", "Threshold", exact, kind="number"),
        questions=fact(f"{here}/n", "Questions", count, kind="number"),
        clusters=fact(f"{here}/clusters", "Clusters", or_else(count, "none: independent"), kind="number"),
        method=fact(f"{here}/method", "Bound by"),
        outcome=fact(f"{here}/verdict", "Verdict", VERDICTS.__getitem__, kind="verdict"),
        reason=fact(f"{here}/reason", "Reason"),
    )


def _misread(documents: Documents, verdict: Verdict) -> Iterator[Fact]:
    """Questions that no model read whole, and choices that were scored in part; nothing where there are none."""
    for index, result in enumerate(verdict.results):
        here, part = f"/verdict/results/{index}", f"{result.task} ({_PARTS[result.part]})"
        if result.cut:
            label = f"Longer than the model's context, read without their beginning: questions of {part}"
            yield documents.fact(f"{here}/cut", label, count, kind="number")
        if result.merged:
            label = f"Scored as lm-eval does, without a token that question and choice share: questions of {part}"
            yield documents.fact(f"{here}/merged", label, count, kind="number")


def _scorer(documents: Documents, verdict: Verdict) -> tuple[Fact, ...]:
    """What it came to that the scorer's likelihoods were recomputed; verdicts of earlier code do not say."""
    if verdict.scorer is None:
        return ()
    fact = documents.fact
    return (
        fact("/verdict/scorer/n", "Likelihoods of each model recomputed by a plain forward", count, kind="number"),
        fact("/verdict/scorer/base", "Largest difference of the base model, nats a token", short, kind="number"),
        fact("/verdict/scorer/edited", "Largest difference of the edited model, nats a token", short, kind="number"),
        fact("/verdict/scorer/allowed", "Difference that rounding may come to", short, kind="number"),
    )


def _estimate(documents: Documents, here: str, when: Literal["before", "after"], metric: str) -> Fact:
    spread = documents.fact(f"{here}/{when}_interval", "Interval", interval(metric), kind="number")
    return documents.fact(f"{here}/{when}", when.capitalize(), measure(metric), kind="number", beside=spread)


_PARTS = {"selection": "chooses settings", "certification": "certifies", "all": "all questions"}


def _result(documents: Documents, index: int, plan: Plan, result: TaskResult) -> ResultView:
    here = f"/verdict/results/{index}"
    fact = documents.fact
    task = next((position for position, task in enumerate(plan.tasks) if task.name == result.task), None)
    return ResultView(
        chart=result_chart(result),
        task=fact(f"{here}/task", "Question set"),
        form=None if task is None else fact(f"/plan/tasks/{task}/kind", "Form"),
        metric=fact(f"{here}/metric", "Metric", METRICS.__getitem__),
        part=fact(f"{here}/part", "Part", _PARTS.__getitem__),
        questions=fact(f"{here}/n", "n", count, kind="number"),
        clusters=fact(f"{here}/clusters", "Clusters", or_else(count, "none"), kind="number"),
        chance=fact(f"{here}/chance", "Chance", or_else(percent, "none"), kind="number"),
        before=_estimate(documents, here, "before", result.metric),
        after=_estimate(documents, here, "after", result.metric),
    )


def _subjects(documents: Documents, subjects: Sequence[SubjectResult]) -> Table:
    """An official task's subjects, those that lost first, then by the drop."""
    fact = documents.fact
    places = sorted(range(len(subjects)), key=lambda index: (not subjects[index].lost, -subjects[index].drop))
    return Table(
        caption="Each subject's certifying questions, the largest drop first. Bound and p are Holm's over all subjects",
        columns=(
            Column(label="Subject"),
            Column(label="n", numeric=True),
            Column(label="Before", numeric=True),
            Column(label="After", numeric=True),
            Column(label="Drop", numeric=True),
            Column(label="At least", numeric=True),
            Column(label="p", numeric=True),
            Column(label="Lost"),
        ),
        rows=tuple(
            (
                fact(f"{here}/subject", "Subject", beside=fact(f"{here}/task", "Task")),
                fact(f"{here}/n", "n", count, kind="number"),
                fact(f"{here}/before", "Before", percent, kind="number"),
                fact(f"{here}/after", "After", percent, kind="number"),
                fact(f"{here}/drop", "Drop", points, kind="number"),
                fact(f"{here}/bound", "At least", points, kind="number"),
                fact(f"{here}/p", "p", short, kind="number"),
                fact(f"{here}/lost", "Lost"),
            )
            for here in (f"/verdict/subjects/{index}" for index in places)
        ),
    )


def _neighbours(documents: Documents, verdict: Verdict) -> Table:
    fact = documents.fact
    return Table(
        caption="The subjects next to the hazard, pooled question by question: what a removal damages first",
        columns=(
            Column(label="Hazard"),
            Column(label="Subjects"),
            Column(label="n", numeric=True),
            Column(label="Before", numeric=True),
            Column(label="After", numeric=True),
            Column(label="Drop", numeric=True),
            Column(label="Interval by"),
        ),
        rows=tuple(
            (
                fact(f"{here}/hazard", "Hazard", beside=fact(f"{here}/task", "Task")),
                fact(f"{here}/subjects", "Subjects"),
                fact(f"{here}/n", "n", count, kind="number"),
                _estimate(documents, here, "before", "acc"),
                _estimate(documents, here, "after", "acc"),
                fact(
                    f"{here}/drop",
                    "Drop",
                    points,
                    kind="number",
                    beside=fact(f"{here}/drop_interval", "Interval", _drops, kind="number"),
                ),
                fact(f"{here}/method", "Interval by"),
            )
            for here in (f"/verdict/neighbours/{index}" for index in range(len(verdict.neighbours)))
        ),
    )


def _drops(value: dict[str, float]) -> str:
    return f"{points(value['low']).removesuffix(f'{NO_BREAK_SPACE}points')} to {points(value['high'])}"


def _sequential(documents: Documents, verdict: Verdict) -> tuple[Fact, ...]:
    """A verification that could stop early: how far it looked."""
    if verdict.sequential is None:
        return ()
    fact, here = documents.fact, "/verdict/sequential"
    return (
        fact(f"{here}/look", "Looked, of several planned looks", count, kind="number"),
        fact(f"{here}/looks", "Looks planned", count, kind="number"),
        fact(f"{here}/asked", "Certifying questions asked", count, kind="number"),
        fact(f"{here}/questions", "Certifying questions there are", count, kind="number"),
        fact(f"{here}/failing", "Confidence of the bounds that could fail a gate", percent, kind="number"),
        fact(f"{here}/stopped", "Stopped early"),
        fact(f"{here}/unjudged", "Gates that were not looked at"),
    )


def _endpoint(documents: Documents, verdict: Verdict) -> Table:
    fact = documents.fact
    return Table(
        caption="The deployed model, asked over the network: whether it answers as the verified one",
        columns=(
            Column(label="Question set"),
            Column(label="Endpoint"),
            Column(label="Model"),
            Column(label="Form"),
            Column(label="n", numeric=True),
            Column(label="No letter", numeric=True),
            Column(label="As edited", numeric=True),
            Column(label="Telling", numeric=True),
            Column(label="As base", numeric=True),
        ),
        rows=tuple(
            (
                fact(f"{here}/task", "Question set"),
                fact(f"{here}/url", "Endpoint", kind="code"),
                fact(f"{here}/model", "Model", kind="code"),
                fact(f"{here}/form", "Form"),
                fact(f"{here}/n", "n", count, kind="number"),
                fact(f"{here}/unanswered", "No letter", count, kind="number"),
                fact(f"{here}/as_edited", "As edited", count, kind="number"),
                fact(f"{here}/telling", "Telling", count, kind="number"),
                fact(f"{here}/as_base", "As base", count, kind="number"),
            )
            for here in (f"/verdict/endpoint/{index}" for index in range(len(verdict.endpoint)))
        ),
    )


_ROLES = {"forget": "Forget text", "retain": "Retain text", "perplexity": "Perplexity text"}


def _corpus(documents: Documents, index: int) -> tuple[Fact, ...]:
    here = f"/plan/corpora/{index}"
    fact = documents.fact
    optional = [
        fact(f"{here}/{field}", label, kind="code")
        for field, label in (
            ("topic", "Topic"),
            ("subset", "Subset"),
            ("split", "Split"),
            ("column", "Column"),
            ("revision", "Revision"),
        )
        if documents.read(f"{here}/{field}")
    ]
    return (
        fact(f"{here}/source", "Source", kind="code"),
        fact(f"{here}/role", "Role", _ROLES.__getitem__),
        *optional,
        fact(f"{here}/documents", "Documents", count, kind="number"),
        fact(f"{here}/tokens", "Tokens", count, kind="number"),
        fact(f"{here}/max_tokens", "Longest document, tokens", count, kind="number"),
        fact(f"{here}/licence", "Licence"),
        fact(f"{here}/digest", "SHA-256", kind="code"),
    )


def _overlap(documents: Documents, plan: Plan) -> Table:
    fact = documents.fact
    return Table(
        caption="Share of distinct forget n-grams that occur in the retain text",
        columns=(
            Column(label="Topic"),
            Column(label="Unigrams", numeric=True),
            Column(label="Bigrams", numeric=True),
            Column(label="High"),
        ),
        rows=tuple(
            (
                fact(f"/plan/overlap/{index}/topic", "Topic"),
                fact(f"/plan/overlap/{index}/unigram", "Unigrams", percent, kind="number"),
                fact(f"/plan/overlap/{index}/bigram", "Bigrams", percent, kind="number"),
                fact(f"/plan/overlap/{index}/warn", "High"),
            )
            for index in range(len(plan.overlap))
        ),
    )


def _questions(documents: Documents, plan: Plan) -> Table:
    fact = documents.fact
    return Table(
        caption="Questions that choose settings never certify",
        columns=(
            Column(label="Question set"),
            Column(label="Form"),
            Column(label="Choose settings", numeric=True),
            Column(label="Certify", numeric=True),
            Column(label="Clusters", numeric=True),
            Column(label="SHA-256"),
        ),
        rows=tuple(
            (
                fact(
                    f"/plan/tasks/{index}/name",
                    "Question set",
                    beside=fact(f"/plan/tasks/{index}/source", "Source", kind="code"),
                ),
                fact(f"/plan/tasks/{index}/kind", "Form"),
                fact(f"/plan/tasks/{index}/selection", "Choose settings", count, kind="number"),
                fact(f"/plan/tasks/{index}/certification", "Certify", count, kind="number"),
                fact(f"/plan/tasks/{index}/clusters", "Clusters", or_else(count, "none"), kind="number"),
                fact(f"/plan/tasks/{index}/digest", "SHA-256", kind="code"),
            )
            for index in range(len(plan.tasks))
        ),
    )


def _method(documents: Documents) -> tuple[Fact, ...]:
    fact = documents.fact
    return (
        fact("/removal/method", "Method", kind="code"),
        fact("/removal/solver", "Solver", or_else(plain, "none"), kind="code"),
        fact("/plan/seed", "Seed", plain, kind="number"),
        fact("/removal/seconds", "Time of the removal", seconds, kind="number"),
        fact("/removal/peak_memory_bytes", "Peak memory", mebibytes, kind="number"),
        fact("/removal/resumed", "Times resumed after an interruption", count, kind="number"),
    )


def _curve(documents: Documents, removal: Removal) -> Table:
    rows = sample(len(removal.curve), _CURVE_ROWS)
    gradient = any(removal.curve[index].gradient_norm is not None for index in rows)
    retain = any(removal.curve[index].retain_loss is not None for index in rows)
    fields: list[tuple[str, str, Form]] = [
        ("step", "Step", count),
        ("topic", "Topic", plain),
        ("forget_loss", "Forget loss", short),
        *([("retain_loss", "Retain loss", or_else(short, "none"))] if retain else []),
        ("loss", "Loss", short),
    ]
    if gradient:
        fields.append(("gradient_norm", "Gradient norm", short))
    return Table(
        caption="Losses at some of the steps, the first and the last included",
        columns=tuple(Column(label=label, numeric=name != "topic") for name, label, _ in fields),
        rows=tuple(
            tuple(
                documents.fact(
                    f"/removal/curve/{index}/{name}", label, form, kind="text" if name == "topic" else "number"
                )
                for name, label, form in fields
            )
            for index in rows
        ),
    )


def _figures(documents: Documents) -> tuple[tuple[Fact, ...], tuple[Fact, ...]]:
    """The method's figures: those that tell of drift are side effects, the others describe the method."""
    figures = documents.facts("/removal/figures", kind="number")
    return (
        tuple(figure for figure in figures if "drift" in figure.label),
        tuple(figure for figure in figures if "drift" not in figure.label),
    )


def _tensors(documents: Documents, removal: Removal) -> Table:
    fact = documents.fact
    return Table(
        caption="Changed tensors",
        columns=(
            Column(label="Tensor"),
            Column(label="Shape"),
            Column(label="Type"),
            Column(label="Relative change ‖ΔW‖/‖W‖", numeric=True),
        ),
        rows=tuple(
            (
                fact(f"/removal/tensors/{index}/name", "Tensor", kind="code"),
                fact(f"/removal/tensors/{index}/shape", "Shape", lambda shape: " × ".join(map(str, shape))),
                fact(f"/removal/tensors/{index}/dtype", "Type"),
                fact(
                    f"/removal/tensors/{index}/relative_change",
                    "Relative change",
                    partial(percent, decimals=2),
                    kind="number",
                ),
            )
            for index in range(len(removal.tensors))
        ),
    )


def _shares(values: Sequence[float]) -> tuple[str, ...]:
    """Each value in per cent of the greatest, for bars."""
    greatest = max(values, default=0.0) or 1.0
    return tuple(f"{100 * value / greatest:.2f}" for value in values)


def _attacks_claim(claim: Callable[[str, str, str], Fact], verdict: Verdict) -> Fact:
    published = (
        "Published work has brought removed knowledge back by fine-tuning, in some cases with text that does not "
        "contain it."
    )
    if verdict.stress:
        return claim(
            "/verdict/stress",
            "Other attacks may succeed",
            "Only the attacks listed under robustness were tried, with the effort stated there. More training, other "
            f"prompts or other attacks may bring more back. {published}",
        )
    stopped = verdict.sequential is not None and verdict.sequential.stopped
    return claim(
        "/verdict/sequential" if stopped else "/removal/method",
        "No attack was tried",
        f"{'A gate failed before any attack was due' if stopped else 'No stress test was part of this policy'}. "
        "Relearning from a few documents, adversarial prompts, quantisation "
        f"and merging were not tried against this removal. {published}",
    )


def _not_claimed(
    documents: Documents, plan: Plan, removal: Removal, verdict: Verdict, signer: Signer, sweep: Sweep | None
) -> tuple[Fact, ...]:
    """The limits of what the run shows. General ones hold for every removal; the others follow from the records."""

    def claim(pointer: str, label: str, text: str) -> Fact:
        documents.read(pointer)
        return Fact(pointer=pointer, label=label, text=text, kind="prose")

    claims = [
        claim(
            "/verdict/gates",
            "Absence is not proven",
            "The gates measure answers to the question sets listed here. Knowledge can survive in other wordings, "
            "languages or uses that no question set asks about, and it can remain in the weights where no question "
            "reaches it.",
        ),
        _attacks_claim(claim, verdict),
        claim(
            "/verdict/edited_model_digest",
            "Only this model",
            f"The verdict holds for the edited model with this digest, evaluated in {verdict.dtype}. Quantised, "
            "merged or further trained versions are different models.",
        ),
        claim(
            "/verdict/results",
            "Usefulness is sampled",
            "Utility gates look at some abilities. Others may have suffered without being measured.",
        ),
        claim(
            "/report/signer/fingerprint",
            "A signature is not the truth",
            "It shows which key issued this report and that no byte has changed since. Whether the run was honest is "
            "for those to judge who can repeat it from the plan.",
        ),
    ]
    if verdict.verdict == "inconclusive":
        claims.append(
            claim(
                "/verdict/verdict",
                "No decision",
                "An inconclusive gate says neither that the knowledge is gone nor that it is still there.",
            )
        )
    if verdict.attempt > 1:
        claims.append(
            claim(
                "/verdict/attempt",
                "A repeated attempt",
                f"This is certification attempt {verdict.attempt} on these question sets. Each further attempt on the "
                "same questions makes a pass by chance more likely than the confidence suggests.",
            )
        )
    if signer.throwaway:
        claims.append(
            claim(
                "/report/signer/throwaway",
                "No identity",
                "The signing key was made for this run alone. It shows that the files belong together, not who made "
                "them.",
            )
        )
    if sweep and plan.sweep and sweep.points[plan.sweep.point].delta_sha256 != removal.delta_sha256:
        claims.append(
            claim(
                "/removal/delta_sha256",
                "Not the very edit that the sweep scored",
                "The settings are those that the sweep chose; the delta differs from the one that it scored, as it "
                "does on another machine. What the gates say was measured on this one.",
            )
        )
    if plan.edited:
        claims.append(
            claim(
                "/plan/edited",
                "Made elsewhere",
                "The removal was made by somebody else. How, on what text and with which settings is not known here: "
                "held-back text of this policy may have been its training text, and to reproduce it means to read the "
                "two models again. What was verified is the base model with the tensors in which the two differ.",
            )
        )
    if any(overlap.warn for overlap in plan.overlap):
        claims.append(
            claim(
                "/plan/overlap",
                "Entangled text",
                "Forget and retain text share much of their vocabulary. In that situation removal is known to be "
                "harder, and its effect on neighbouring knowledge larger.",
            )
        )
    if any(corpus.licence is None for corpus in plan.corpora) or plan.model.licence is None:
        claims.append(
            claim(
                "/plan/corpora" if any(corpus.licence is None for corpus in plan.corpora) else "/plan/model/licence",
                "Licences",
                "For a source marked “not recorded” no licence was found, and none is implied.",
            )
        )
    if plan.environment.dirty:
        claims.append(
            claim(
                "/plan/environment/dirty",
                "Uncommitted code",
                "The code was run with changes that its commit does not contain, so the commit alone does not "
                "reproduce this run.",
            )
        )
    return tuple(claims)


def _failed_runs(documents: Documents, failed_runs: Sequence[FailedRun]) -> Table:
    fact = documents.fact
    return Table(
        caption="What the log holds about this policy or this model before this report",
        columns=(Column(label="Run"), Column(label="Event"), Column(label="Time"), Column(label="Message")),
        rows=tuple(
            (
                fact(f"/report/failed_runs/{index}/run", "Run", kind="code"),
                fact(f"/report/failed_runs/{index}/type", "Event", kind="code"),
                fact(f"/report/failed_runs/{index}/time", "Time", utc),
                fact(f"/report/failed_runs/{index}/message", "Message", or_else(plain, "none")),
            )
            for index in range(len(failed_runs))
        ),
    )


def _verifications(documents: Documents, verifications: Sequence[Verification]) -> Table:
    fact = documents.fact
    return Table(
        caption="Every verification of this run, the reported one last",
        columns=(
            Column(label="Time"),
            Column(label="Verdict"),
            Column(label="Attempt", numeric=True),
            Column(label="lm-eval"),
            Column(label="govern"),
        ),
        rows=tuple(
            (
                fact(f"/report/verifications/{index}/time", "Time", utc),
                fact(f"/report/verifications/{index}/verdict", "Verdict", VERDICTS.__getitem__),
                fact(f"/report/verifications/{index}/attempt", "Attempt", count, kind="number"),
                fact(f"/report/verifications/{index}/harness", "lm-eval"),
                fact(f"/report/verifications/{index}/govern", "govern"),
            )
            for index in range(len(verifications))
        ),
    )


def _waivers(documents: Documents, waivers: Sequence[Waiver]) -> Table:
    fact = documents.fact
    return Table(
        caption="Waivers of this run when the report was issued, each for the report whose digest it names",
        columns=(
            Column(label="Gate"),
            Column(label="Verdict"),
            Column(label="Approver"),
            Column(label="Signed"),
            Column(label="Until"),
            Column(label="Reason"),
            Column(label="For the report"),
        ),
        rows=tuple(
            (
                fact(f"/report/waivers/{index}/gate", "Gate", lambda gate: str(GateName(**gate))),
                fact(f"/report/waivers/{index}/verdict", "Verdict", VERDICTS.__getitem__),
                fact(
                    f"/report/waivers/{index}/approver/person",
                    "Approver",
                    beside=fact(f"/report/waivers/{index}/approver/role", "Role"),
                ),
                fact(f"/report/waivers/{index}/time", "Signed", utc),
                fact(f"/report/waivers/{index}/until", "Until", utc),
                fact(f"/report/waivers/{index}/reason", "Reason"),
                fact(f"/report/waivers/{index}/report", "For the report", kind="code"),
            )
            for index in range(len(waivers))
        ),
    )


_SAID = (
    ("intended_use", "Intended use"),
    ("residual_risk", "Residual risk"),
    ("monitoring", "Monitoring in use"),
    ("rollback", "Rollback"),
)


def _said(documents: Documents, plan: Plan) -> tuple[Said, ...]:
    """What the policy's `deployment` says, and where it is silent."""
    return tuple(
        Said(
            label=label,
            fact=documents.fact(f"/plan/deployment/{name}", label, kind="prose")
            if plan.deployment and getattr(plan.deployment, name)
            else None,
        )
        for name, label in _SAID
    )


def _monitoring_commands(run: str, plan: Plan, issued: str) -> tuple[Command, ...]:
    sampled = any((corpus.role, corpus.source) == ("perplexity", "self:") for corpus in plan.corpora)
    # The time of issue is a seed that neither the policy nor an earlier verification has used.
    seed = re.sub(r"\D", "", issued)[:14]
    again = (
        Command(
            purpose="Judge it again, on held-back text that nobody has seen",
            command=f"govern verify {run} --seed {seed}",
        )
        if sampled
        else Command(purpose="Judge it again, on the same questions", command=f"govern verify {run}")
    )
    return (
        Command(
            purpose="Whether the removal still stands: revoked, waived, stale, and who has signed",
            command=f"govern status {run}",
        ),
        again,
        Command(purpose="Whether it still comes out as recorded", command=f"govern reproduce {run}"),
    )


def _rollback_commands(run: str, base_digest: str) -> tuple[Command, ...]:
    return (
        Command(
            purpose="What the log knows of the model to go back to, other removals from it included",
            command=f"govern models log {base_digest[:16]}",
        ),
        Command(
            purpose="Say for ever, signed, that the removal must not be relied on",
            command=f'govern revoke {run} --reason "…" --key KEY',
        ),
    )


def _commands(run: str) -> tuple[Command, ...]:
    return (
        Command(
            purpose="The report is unchanged since it was signed; prints the signed verdict and the signer",
            command="govern report verify report.html",
        ),
        Command(
            purpose="The audit log is unbroken up to its last event",
            command="govern audit verify",
        ),
        Command(
            purpose="What the log says about this run",
            command=f"govern audit log --run {run}",
        ),
        Command(
            purpose="Everything that an outsider needs, proofs that this run is in the log included",
            command=f"govern evidence pack {run} pack",
        ),
        Command(
            purpose="That pack, checked on a machine without the log, the workspace and the network",
            command="govern evidence verify pack",
        ),
        Command(
            purpose="Without govern: the digest that the signed statement must name as its subject",
            command="openssl dgst -sha256 report.html",
        ),
        Command(
            purpose="Without govern: the fingerprint of the signer's key, to compare with the one above",
            command="openssl pkey -pubin -in signer.pub -outform DER | openssl dgst -sha256",
        ),
    )


def _sign_offs(plan: Plan) -> tuple[str, ...]:
    """The lines of the sign-off block: one for each required sign-off, named after its role where there is one."""
    roles = plan.review_roles
    lines = max(plan.reviews_required, 0)
    if lines and len(roles) == lines:
        return roles
    return (" or ".join(roles) or "reviewer",) * lines
