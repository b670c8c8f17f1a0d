"""The gates on a page: each with its facts and its picture, and the attacks with a limit among them."""

from __future__ import annotations

from functools import partial

from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.gates.registry import GATES
from govern.records import AttackResult, GateResult, VerdictValue
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.charts import ChangeChart, attack_chart, gate_chart
from govern.reporting.document import RunDocument
from govern.reporting.facts import Documents, Fact, Field, between, number


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


def gate_views(document: RunDocument, documents: Documents | None = None) -> tuple[GateView, ...]:
    """The policy's gates, in the verdict's order."""
    documents = documents or document.documents()
    chances = {
        (result.task, result.metric): result.chance
        for result in reversed(document.verdict.results)
        if result.part == "certification"
    }
    return tuple(
        _view(
            documents,
            f"/verdict/gates/{index}",
            gate.verdict,
            gate_chart(gate, chance=chances.get((gate.task, gate.metric))),
            _gate(gate),
        )
        for index, gate in enumerate(document.verdict.gates)
    )


def attack_gates(document: RunDocument, documents: Documents) -> tuple[GateView, ...]:
    """The attacks with a limit as gates: the model before and after each, and the share that came back."""
    return tuple(
        _view(documents, f"/verdict/stress/{index}", found.verdict, attack_chart(found), _attack(found))
        for index, found in enumerate(document.verdict.stress)
        if found.verdict is not None
    )


def _view(
    documents: Documents, here: str, verdict: VerdictValue, chart: ChangeChart, own: dict[str, Field]
) -> GateView:
    """A gate by its `own` fields and those that all have."""
    common = {
        "task": Field("task", "Gate"),
        "clusters": number("clusters", "Clusters", forms.or_else(forms.count, "none: independent")),
        "method": Field("method", "Bound by"),
        "outcome": Field("verdict", "Verdict", forms.VERDICTS.__getitem__, "verdict"),
        "reason": Field("reason", "Reason"),
    }
    facts = {name: documents.show(field, here) for name, field in {**common, **own}.items()}
    return GateView(verdict=verdict, chart=chart, **facts)


def _gate(gate: GateResult) -> dict[str, Field]:
    kind = GATES[gate.kind]
    form = forms.UNITS[kind.unit]
    exact: forms.Form = partial(form, decimals=forms.telling_apart(gate.bound, gate.threshold, form))
    return {
        "rule": Field("kind", "Rule", lambda _: kind.rule),
        "metric": Field("metric", "Metric", forms.METRICS.__getitem__),
        "before": estimate("before", gate.metric),
        "after": estimate("after", gate.metric),
        "bound": number("bound", kind.bound_name(gate.verdict), exact),
        "threshold": number("threshold", "Threshold", exact),
        "questions": number("n", "Documents" if gate.metric == "perplexity" else "Questions"),
    }


def _attack(found: AttackResult) -> dict[str, Field]:
    limit, bound = found.max_recovery or 0.0, found.bound
    exact: forms.Form = partial(
        forms.percent, decimals=1 if bound is None else forms.telling_apart(bound, limit, forms.percent)
    )
    return {
        "rule": Field("attack", "Rule", lambda _: MAX_RECOVERY.rule),
        "metric": Field("name", "Metric", lambda name: f"accuracy, attack {name}"),
        "before": number("edited", "Edited", forms.percent),
        "after": number("attacked", "Attacked", forms.percent),
        "bound": number("bound", MAX_RECOVERY.bound_name(found.verdict), forms.or_else(exact, "no bound")),
        "threshold": number("max_recovery", "Threshold", exact),
        "questions": number("n", "Questions"),
    }


def estimate(when: str, metric: str) -> Field:
    """What was measured "before" or "after", with its interval."""
    spread = between(f"{when}_interval", forms.interval(metric))
    return number(when, when.capitalize(), forms.measure(metric), beside=spread)
