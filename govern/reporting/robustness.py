"""What attacks brought back, as a table with the untouched model as control."""

from __future__ import annotations

from govern.records import AttackResult
from govern.reporting.facts import Column, Documents, Fact, Table, count, or_else, percent


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
    between = fact(f"{here}/recovered_interval", "Interval", or_else(_interval, "not bounded"), kind="number")
    accuracies = (("edited", "Edited"), ("attacked", "Attacked"), ("base", "Base"), ("control", "Control"))
    return (
        fact(f"{here}/name", "Attack"),
        fact(f"{here}/task", "Question set"),
        fact(f"{here}/n", "Questions", count, kind="number"),
        *(fact(f"{here}/{name}", label, percent, kind="number") for name, label in accuracies),
        fact(f"{here}/recovered", "Recovered", or_else(percent, "unknown"), kind="number", beside=between),
        fact(f"{here}/max_recovery", "Allowed", or_else(percent, "no limit"), kind="number"),
        fact(f"{here}/verdict", "Verdict", or_else(str, "not a gate")),
    )


def reasons(documents: Documents, results: tuple[AttackResult, ...]) -> tuple[Fact, ...]:
    """Why each attack with a limit was judged as it was."""
    return tuple(
        documents.fact(f"/verdict/stress/{index}/reason", result.name)
        for index, result in enumerate(results)
        if result.verdict is not None
    )


def _interval(value: dict[str, float]) -> str:
    return f"{percent(value['low'])} to {percent(value['high'])}"
