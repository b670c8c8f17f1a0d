"""What a report says, before it is HTML or Markdown: facts in the order in which a reviewer needs them."""

from __future__ import annotations

from typing import Literal

from govern.records import Plan, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting import commands, data, edit, provenance, results
from govern.reporting.charts import CurveChart, curve_charts
from govern.reporting.commands import Command
from govern.reporting.crosswalk import CrosswalkView, build_crosswalk
from govern.reporting.document import RunDocument
from govern.reporting.facts import Documents, Fact, Field, Line, Table, Text, code, number
from govern.reporting.forms import VERDICTS, percent, utc
from govern.reporting.gates import GateView, attack_gates, gate_views
from govern.reporting.not_claimed import not_claimed
from govern.reporting.provenance import PolicyWord
from govern.reporting.reason import ReasonView, build_reason
from govern.reporting.results import ResultView
from govern.reporting.robustness import ROBUSTNESS, AttackView, attack_views, untried
from govern.reporting.sections import SECTIONS, Section


def _solver(value: str | None) -> str:
    return "no separate solver" if value is None else f"{value.replace('_', ' ')} solver"


_HAZARD = Field("plan/hazard_domain", "What must go", beside=Field("plan/hazard_category", "Category"))
_SUMMARY = (
    Field("plan/model/source", "From the model", beside=Field("plan/model/architecture", "Architecture")),
    Field("removal/method", "By", beside=Field("removal/solver", "Solver", _solver)),
    Field("plan/owner/name", "Answerable", beside=Field("plan/owner/role", "Role")),
    number("plan/reviews_required", "Sign-offs required", beside=Field("plan/review_roles", "Roles")),
    number(
        "verdict/attempt",
        "Certification attempt",
        beside=Field("verdict/confidence", "Confidence", lambda share: f"at {percent(share)} confidence"),
    ),
)
_ROLLBACK = (
    code("removal/base_model_digest", "The model to go back to"),
    code("removal/delta_sha256", "The delta that made the edited one of it"),
    code("removal/edited_model_digest", "The model to take out of use"),
)
_VALID_DAYS = number("plan/valid_days", "A verification holds for, days")


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
    said: tuple[PolicyWord, ...]
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


def build_view(document: RunDocument, policy_text: str = "") -> ReportView:
    """Arrange the records of one run for reading. Hazardous text is in none of them and so in no report."""
    plan, removal, verdict, report = document.plan, document.removal, document.verdict, document.report
    documents = document.documents()
    fact, rows, listed = documents.fact, documents.rows, documents.listed
    side_effects, figures = edit.figures(documents)
    return ReportView(
        title=fact("/plan/title", "Title"),
        verdict=verdict.verdict,
        outcome=fact("/verdict/verdict", "Verdict", VERDICTS.__getitem__, kind="verdict"),
        sentence=_sentence(verdict),
        run=fact("/report/run", "Run", kind="code"),
        issued=fact("/report/issued", "Issued", utc),
        throwaway=report.signer.throwaway,
        summary=_summary(documents, plan),
        sections=SECTIONS,
        gates=gate_views(document, documents),
        attack_gates=attack_gates(document, documents),
        scope=data.scope(documents, plan),
        rationale=fact("/plan/rationale", "Rationale", kind="prose"),
        persons=rows(provenance.PERSONS),
        model_before=rows(data.MODEL_BEFORE, "/plan/model"),
        model_after=data.model_after(documents, plan),
        policy=rows(provenance.POLICY),
        policy_text=policy_text,
        waivers=listed(provenance.WAIVERS),
        corpora=data.corpora(documents),
        overlap=listed(data.OVERLAP),
        questions=listed(data.QUESTIONS),
        warnings=tuple(fact(here, "Warning") for here in documents.each("/plan/warnings")),
        method=(*rows(edit.METHOD), *(rows(provenance.ORIGIN, "/plan") if plan.origin else ())),
        parameters=documents.facts("/plan/parameters"),
        reason=build_reason(documents, document.sweep) if document.sweep else None,
        curve=edit.curve(documents, removal),
        curve_charts=curve_charts(removal.curve),
        results=results.result_views(document, documents),
        results_facts=results.results_facts(document, documents),
        subjects=results.subjects(document, documents),
        neighbours=listed(results.NEIGHBOURS),
        endpoint=listed(results.ENDPOINT),
        robustness=listed(ROBUSTNESS),
        attacks=attack_views(documents, verdict.stress),
        untried=untried(verdict),
        side_effects=side_effects,
        figures=figures,
        tensors=listed(edit.TENSORS),
        tensor_shares=edit.shares([tensor.relative_change for tensor in removal.tensors]),
        not_claimed=not_claimed(document, documents),
        said=provenance.said(documents, plan),
        monitoring=rows((*((_VALID_DAYS,) if plan.valid_days else ()), results.VALID_UNTIL)),
        monitoring_commands=commands.monitoring(report.run, plan, report.issued),
        rollback=rows(_ROLLBACK),
        rollback_commands=commands.rollback(report.run, removal.base_model_digest),
        failed_runs=listed(provenance.FAILED_RUNS),
        verifications=listed(results.VERIFICATIONS),
        environment=rows(provenance.ENVIRONMENT),
        packages=documents.facts("/plan/environment/packages"),
        audit=rows(provenance.AUDIT),
        commands=commands.checking(report.run),
        sign_offs=provenance.sign_offs(plan),
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
    return (documents.show(_HAZARD), *data.forget_topics(documents, plan), *documents.rows(_SUMMARY))
