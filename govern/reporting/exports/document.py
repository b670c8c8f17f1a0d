"""The JSON of a run: what the pointers on a report's page point into, and what every other export is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.gates.registry import GATES
from govern.records import GateName, GateResult, Plan, Removal, Sweep, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting.facts import METRICS, NO_BREAK_SPACE, UNITS, Fact, measure, percent
from govern.reporting.text import one_line
from govern.reporting.view import Issue, ReportView, build_view


class RunDocument(Record):
    """All that a report says of its run, but the policy's text. It holds neither texts nor questions.

    `sweep` is left out of the JSON where no sweep chose the parameters.
    """

    format_version: Literal[1] = 1
    plan: Plan
    removal: Removal
    verdict: Verdict
    report: Issue
    sweep: Sweep | None = Field(default=None, exclude_if=lambda sweep: sweep is None)

    @property
    def model_name(self) -> str:
        """A name for the edited model: the base model's own, and the policy's."""
        base = self.plan.model.source.partition(":")[2].rstrip("/").rpartition("/")[2]
        return one_line(f"{base or 'model'}-{self.plan.policy_name}")

    def limits(self) -> tuple[Fact, ...]:
        """What the report says that it does not claim."""
        return self.view().not_claimed

    def view(self) -> ReportView:
        """The report's view, without the policy's text."""
        report = self.report
        return build_view(
            plan=self.plan,
            removal=self.removal,
            verdict=self.verdict,
            policy_text="",
            run=report.run,
            issued=report.issued,
            audit_origin=report.audit_origin,
            audit_seq=report.audit_seq,
            audit_leaf=report.audit_leaf,
            signer=report.signer,
            failed_runs=report.failed_runs,
            sweep=self.sweep,
            verifications=report.verifications,
            valid_until=report.valid_until,
            waivers=report.waivers,
        )


def hub_name(source: str) -> str | None:
    """OWNER/NAME of a model or data set on the Hugging Face hub; None for what comes from elsewhere."""
    scheme, _, name = source.partition(":")
    return name if scheme == "hf" and name.count("/") == 1 else None


def rule(gate: GateResult) -> str:
    """What a gate asks for: `accuracy at most 40.0 %`."""
    kind = GATES[gate.kind]
    return plain_spaces(f"{METRICS[gate.metric]} {kind.rule} {UNITS[kind.unit](gate.threshold)}")


def finding(gate: GateResult) -> str:
    """What was found: before, after, and the bound that was held against the threshold."""
    value = measure(gate.metric)
    bound = UNITS[GATES[gate.kind].unit](gate.bound)
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
        share = "an unknown share" if found.recovered is None else percent(found.recovered)
        gates.append(
            Judged(
                found.task,
                MAX_RECOVERY.name,
                f"{found.task} recovery {found.name}",
                plain_spaces(f"{found.name}: {MAX_RECOVERY.rule} {percent(found.max_recovery)}"),
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
    return one_line(text).replace(NO_BREAK_SPACE, " ")
