"""What attacks brought back, with the untouched model as control: a table of all, and each in detail."""

from __future__ import annotations

from govern.records import AttackResult, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting.facts import (
    NO_BREAK_SPACE,
    VERDICTS,
    Column,
    Documents,
    Fact,
    Table,
    count,
    or_else,
    percent,
    plain,
    seconds,
)


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


def robustness(documents: Documents, results: tuple[AttackResult, ...]) -> Table:
    """One row an attack; `documents` holds the verdict whose `stress` these results are."""
    return Table(
        caption="Attacks on the removal. The base model under the same attack is the control",
        columns=(
            Column(label="Attack"),
            Column(label="Question set"),
            Column(label="Questions", numeric=True),
            Column(label="Edited", numeric=True),
            Column(label="Attacked", numeric=True),
            Column(label="Base", numeric=True),
            Column(label="Control", numeric=True),
            Column(label="Recovered", numeric=True),
            Column(label="Allowed", numeric=True),
            Column(label="Verdict"),
        ),
        rows=tuple(_row(documents, index) for index in range(len(results))),
    )


def _row(documents: Documents, index: int) -> tuple[Fact, ...]:
    here = f"/verdict/stress/{index}"
    fact = documents.fact
    accuracies = (("edited", "Edited"), ("attacked", "Attacked"), ("base", "Base"), ("control", "Control"))
    return (
        fact(f"{here}/name", "Attack"),
        fact(f"{here}/task", "Question set"),
        fact(f"{here}/n", "Questions", count, kind="number"),
        *(fact(f"{here}/{name}", label, percent, kind="number") for name, label in accuracies),
        recovered(documents, here),
        fact(f"{here}/max_recovery", "Allowed", or_else(percent, "no limit"), kind="number"),
        fact(f"{here}/verdict", "Verdict", or_else(VERDICTS.__getitem__, "not a gate")),
    )


def recovered(documents: Documents, here: str) -> Fact:
    """The share that came back, with its interval; `here` points at the attack."""
    between = documents.fact(f"{here}/recovered_interval", "Interval", or_else(_interval, "not bounded"), kind="number")
    return documents.fact(f"{here}/recovered", "Recovered", or_else(percent, "unknown"), kind="number", beside=between)


def attack_views(documents: Documents, results: tuple[AttackResult, ...]) -> tuple[AttackView, ...]:
    """Each attack with all that its judgement used."""
    return tuple(_view(documents, index, result) for index, result in enumerate(results))


def _view(documents: Documents, index: int, result: AttackResult) -> AttackView:
    here = f"/verdict/stress/{index}"
    fact = documents.fact
    return AttackView(
        name=fact(f"{here}/name", "Attack"),
        task=fact(f"{here}/task", "Question set"),
        verdict=result.verdict,
        outcome=None if result.verdict is None else fact(f"{here}/verdict", "Verdict", VERDICTS.__getitem__),
        reason=fact(f"{here}/reason", "Reason"),
        facts=(
            fact(f"{here}/attack", "Kind of attack", kind="code"),
            *_origin(documents, here, result),
            *documents.facts(f"{here}/parameters"),
            *(documents.facts(f"{here}/found") if result.found else ()),
            fact(f"{here}/n", "Questions", count, kind="number"),
            fact(f"{here}/clusters", "Clusters", or_else(count, "none: independent"), kind="number"),
            fact(f"{here}/chance", "Chance", percent, kind="number"),
            recovered(documents, here),
            fact(f"{here}/bound", "Bound held against the limit", or_else(percent, "none"), kind="number"),
            fact(f"{here}/max_recovery", "Limit", or_else(percent, "no limit"), kind="number"),
            fact(f"{here}/method", "Bound by", or_else(plain, "none")),
            fact(f"{here}/seconds", "Time of the attack", seconds, kind="number"),
        ),
    )


def _origin(documents: Documents, here: str, result: AttackResult) -> tuple[Fact, ...]:
    """Where an attack comes from that is not govern's own."""
    if result.origin is None:
        return ()
    fact = documents.fact
    return (
        fact(f"{here}/origin/distribution", "Not govern's own, but of the distribution", kind="code"),
        fact(f"{here}/origin/version", "Its version", kind="code"),
        fact(f"{here}/origin/digest", "SHA-256 over its files", kind="code"),
    )


def _interval(value: dict[str, float]) -> str:
    return f"{percent(value['low']).removesuffix(f'{NO_BREAK_SPACE}%')} to {percent(value['high'])}"
