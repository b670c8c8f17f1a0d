"""What attacks brought back, with the untouched model as control: a table of all, and each in detail."""

from __future__ import annotations

from govern.records import AttackResult, Verdict, VerdictValue
from govern.records.base import Record
from govern.reporting.facts import (
    NO_BREAK_SPACE,
    VERDICTS,
    Documents,
    Fact,
    Field,
    Table,
    between,
    code,
    count,
    number,
    or_else,
    percent,
    plain,
    seconds,
)


def _interval(value: dict[str, float]) -> str:
    return f"{percent(value['low']).removesuffix(f'{NO_BREAK_SPACE}%')} to {percent(value['high'])}"


_RECOVERED = number(
    "recovered",
    "Recovered",
    or_else(percent, "unknown"),
    beside=between("recovered_interval", or_else(_interval, "not bounded")),
)
_ROW = (
    Field("name", "Attack"),
    Field("task", "Question set"),
    number("n", "Questions"),
    number("edited", "Edited", percent),
    number("attacked", "Attacked", percent),
    number("base", "Base", percent),
    number("control", "Control", percent),
    _RECOVERED,
    number("max_recovery", "Allowed", or_else(percent, "no limit")),
    Field("verdict", "Verdict", or_else(VERDICTS.__getitem__, "not a gate")),
)
_DETAILS = (
    number("n", "Questions"),
    number("clusters", "Clusters", or_else(count, "none: independent")),
    number("chance", "Chance", percent),
    _RECOVERED,
    number("bound", "Bound held against the limit", or_else(percent, "none")),
    number("max_recovery", "Limit", or_else(percent, "no limit")),
    Field("method", "Bound by", or_else(plain, "none")),
    number("seconds", "Time of the attack", seconds),
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


def robustness(documents: Documents) -> Table:
    """One row an attack."""
    caption = "Attacks on the removal. The base model under the same attack is the control"
    return documents.table(caption, _ROW, documents.each("/verdict/stress"))


def attack_views(documents: Documents, results: tuple[AttackResult, ...]) -> tuple[AttackView, ...]:
    """Each attack with all that its judgement used; `documents` holds the verdict whose `stress` these results are."""
    return tuple(_view(documents, f"/verdict/stress/{index}", result) for index, result in enumerate(results))


def _view(documents: Documents, here: str, result: AttackResult) -> AttackView:
    fact = documents.fact
    return AttackView(
        name=fact(f"{here}/name", "Attack"),
        task=fact(f"{here}/task", "Question set"),
        verdict=result.verdict,
        outcome=None if result.verdict is None else fact(f"{here}/verdict", "Verdict", VERDICTS.__getitem__),
        reason=fact(f"{here}/reason", "Reason"),
        facts=(
            documents.show(code("attack", "Kind of attack"), here),
            *documents.facts(f"{here}/parameters"),
            *(documents.facts(f"{here}/found") if result.found else ()),
            *documents.rows(_DETAILS, here),
        ),
    )
