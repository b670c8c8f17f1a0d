"""What attacks brought back, with the base model as control: a table of all, and each in detail."""

from __future__ import annotations

from govern.records import AttackResult, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.facts import Documents, Fact, Field, Listing, between, code, number
from govern.reporting.provenance import ORIGIN

_RECOVERED = number(
    "recovered",
    "Recovered",
    forms.or_else(forms.percent, "unknown"),
    beside=between("recovered_interval", forms.or_else(forms.span(forms.percent, " to "), "not bounded")),
)
ROBUSTNESS = Listing(
    "Attacks on the removal. The base model under the same attack is the control",
    "/verdict/stress",
    (
        Field("name", "Attack"),
        Field("task", "Question set"),
        number("n", "Questions"),
        number("edited", "Edited", forms.percent),
        number("attacked", "Attacked", forms.percent),
        number("base", "Base", forms.percent),
        number("control", "Control", forms.percent),
        _RECOVERED,
        number("max_recovery", "Allowed", forms.or_else(forms.percent, "no limit")),
        Field("verdict", "Verdict", forms.or_else(forms.VERDICTS.__getitem__, "not a gate")),
    ),
)
_DETAILS = (
    number("n", "Questions"),
    number("clusters", "Clusters", forms.or_else(forms.count, "none: independent")),
    number("chance", "Chance", forms.percent),
    _RECOVERED,
    number("bound", "Bound held against the limit", forms.or_else(forms.percent, "none")),
    number("max_recovery", "Limit", forms.or_else(forms.percent, "no limit")),
    Field("method", "Bound by", forms.or_else(forms.plain, "none")),
    number("seconds", "Time of the attack", forms.seconds),
)

# Where an attack comes from that is not govern's own.


class AttackView(Record):
    """One attack in detail. `verdict` and `outcome` are None where the policy sets it no limit."""

    name: Fact
    task: Fact
    verdict: VerdictValue | None
    outcome: Fact | None
    reason: Fact
    facts: tuple[Fact, ...]


def untried(verdict: Verdict) -> str:
    """Why no attack was made; empty where one was."""
    if verdict.stress:
        return ""
    if verdict.sequential is not None and verdict.sequential.stopped:
        return "verification stopped at a gate that failed, before any attack"
    return "the policy asks for no attack"


def attack_views(documents: Documents, results: tuple[AttackResult, ...]) -> tuple[AttackView, ...]:
    """Each attack with all that its judgement used; `documents` holds the verdict whose `stress` these results are."""
    return tuple(_view(documents, f"/verdict/stress/{index}", result) for index, result in enumerate(results))


def _view(documents: Documents, here: str, result: AttackResult) -> AttackView:
    fact = documents.fact
    return AttackView(
        name=fact(f"{here}/name", "Attack"),
        task=fact(f"{here}/task", "Question set"),
        verdict=result.verdict,
        outcome=None if result.verdict is None else fact(f"{here}/verdict", "Verdict", forms.VERDICTS.__getitem__),
        reason=fact(f"{here}/reason", "Reason"),
        facts=(
            documents.show(code("attack", "Kind of attack"), here),
            *(documents.rows(ORIGIN, here) if result.origin else ()),
            *documents.facts(f"{here}/parameters"),
            *(documents.facts(f"{here}/found") if result.found else ()),
            *documents.rows(_DETAILS, here),
        ),
    )
