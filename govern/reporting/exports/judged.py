"""What decided about a verdict, in words for programs: the same in every export."""

from __future__ import annotations

from dataclasses import dataclass

from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.gates.registry import GATES
from govern.records import GateName, GateResult, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.text import one_line


def hub_name(source: str) -> str | None:
    """OWNER/NAME of a model or data set on the Hugging Face hub; None for what comes from elsewhere."""
    scheme, _, name = source.partition(":")
    return name if scheme == "hf" and name.count("/") == 1 else None


def rule(gate: GateResult) -> str:
    """What a gate asks for: `accuracy at most 40.0 %`."""
    kind = GATES[gate.kind]
    return plain_spaces(f"{forms.METRICS[gate.metric]} {kind.rule} {forms.UNITS[kind.unit](gate.threshold)}")


def finding(gate: GateResult) -> str:
    """What was found: before, after, and the bound that was held against the threshold."""
    value = forms.measure(gate.metric)
    bound = forms.UNITS[GATES[gate.kind].unit](gate.bound)
    return plain_spaces(f"{value(gate.before)} before, {value(gate.after)} after, bound {bound} by {gate.method}")


@dataclass(frozen=True)
class Judged:
    """A gate, or an attack with a limit, as a program shows it. `name` is what a waiver calls it."""

    task: str
    kind: str
    key: str
    rule: str
    finding: str
    reason: str
    verdict: VerdictValue
    record: Record
    name: GateName
    method: str


def judged(verdict: Verdict) -> tuple[Judged, ...]:
    """All that decided about a verdict: its gates, then the attacks with a limit."""
    gates = [
        Judged(
            gate.task,
            gate.kind,
            f"{gate.task} {gate.metric} {gate.kind}",
            rule(gate),
            finding(gate),
            gate.reason,
            gate.verdict,
            gate,
            GateName(task=gate.task, metric=gate.metric, kind=gate.kind),
            gate.method,
        )
        for gate in verdict.gates
    ]
    for found in verdict.stress:
        if found.verdict is None or found.max_recovery is None:
            continue
        share = "an unknown share" if found.recovered is None else forms.percent(found.recovered)
        gates.append(
            Judged(
                found.task,
                MAX_RECOVERY.name,
                f"{found.task} recovery {found.name}",
                plain_spaces(f"{found.name}: {MAX_RECOVERY.rule} {forms.percent(found.max_recovery)}"),
                plain_spaces(f"recovered {share} by {found.name}"),
                found.reason,
                found.verdict,
                found,
                GateName(task=found.task, metric="recovery", kind=MAX_RECOVERY.name, attack=found.name),
                found.method,
            )
        )
    return tuple(gates)


def plain_spaces(text: str) -> str:
    """Text for programs, in which a no-break space would only surprise."""
    return one_line(text).replace(forms.NO_BREAK_SPACE, " ")
