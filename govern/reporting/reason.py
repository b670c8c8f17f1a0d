"""Why a removal has the parameters that it has: the sweep that chose them, as facts, a picture and a table."""

from __future__ import annotations

from functools import partial
from typing import Any

from govern.records import Standing, Sweep
from govern.records.base import Record
from govern.reporting.charts import FrontChart, front_chart
from govern.reporting.facts import (
    Column,
    Documents,
    Fact,
    Table,
    count,
    interval,
    or_else,
    percent,
    plain,
    seconds,
    short,
)
from govern.stress.relearning import Relearning

# More points than this make a table that nobody reads; the picture still has them all.
_ROWS = 40

_SETTINGS = {"coefficient": "c", "scale": "s", "retain_weight": "α", "importance": "Map", "direction": "Direction"}

_STANDINGS: dict[Standing, str] = {
    "bound": "met by the bounds",
    "estimate": "met by the estimates",
    "none": "missed",
}


class ReasonView(Record):
    """The sweep that chose the parameters."""

    facts: tuple[Fact, ...]
    chart: FrontChart
    table: Table


def build_reason(documents: Documents, sweep: Sweep) -> ReasonView:
    """Arrange a sweep for reading; `documents` holds it as "sweep" and the plan that took its choice."""
    fact = documents.fact
    return ReasonView(
        facts=(
            fact("/sweep/rule", "Rule"),
            fact("/sweep/reason", "Reason"),
            fact("/sweep/points", "Points tried", count, kind="number"),
            fact("/plan/sweep/point", "Chosen point (counted from 0)", plain, kind="number"),
            *(
                fact(
                    f"/sweep/{name}_before/value",
                    label,
                    percent,
                    kind="number",
                    beside=fact(f"/sweep/{name}_before/interval", "Interval", interval("acc"), kind="number"),
                )
                for name, label in (("forget", "To forget, before any edit"), ("utility", "To keep, before any edit"))
            ),
            *_attack(documents, sweep),
            fact("/plan/sweep/sweep", "Sweep", kind="code"),
            fact("/plan/sweep/digest", "SHA-256 of its record", kind="code"),
            fact(f"/sweep/points/{sweep.chosen}/delta_sha256", "Delta that the sweep scored", kind="code"),
            fact("/sweep/seconds", "Time of the sweep", seconds, kind="number"),
        ),
        chart=front_chart(sweep),
        table=_table(documents, sweep),
    )


def _attack(documents: Documents, sweep: Sweep) -> tuple[Fact, ...]:
    """What every point was put to, and what that leaves of the unedited model's answers."""
    if sweep.attack is None or sweep.attacked_before is None:
        return ()
    here = "/sweep/attacked_before"
    return (
        documents.fact("/sweep/attack", "Attack on every point", _described),
        documents.fact(
            f"{here}/value",
            "To forget, unedited and attacked",
            percent,
            kind="number",
            beside=documents.fact(f"{here}/interval", "Interval", interval("acc"), kind="number"),
        ),
    )


def _described(attack: dict[str, Any]) -> str:
    return Relearning.model_validate(attack).describe()


def _table(documents: Documents, sweep: Sweep) -> Table:
    numbers = list(range(len(sweep.points)))
    caption = "All points, scored on the questions that choose settings"
    if len(numbers) > _ROWS:
        shown = {*sweep.front, *([] if sweep.chosen is None else [sweep.chosen])}
        numbers = [number for number in numbers if number in shown]
        caption = "The points that no other one beats in both; the record of the sweep and the log hold the others"
    return Table(
        caption=caption,
        columns=(
            Column(label="Point", numeric=True),
            *(Column(label=_SETTINGS.get(name, name.capitalize())) for name in sweep.swept),
            Column(label="To forget", numeric=True),
            Column(label="To keep", numeric=True),
            *((Column(label="After the attack", numeric=True),) if sweep.attack else ()),
            Column(label="‖ΔW‖", numeric=True),
            Column(label="Thresholds"),
        ),
        rows=tuple(_row(documents, sweep, number) for number in numbers),
    )


def _row(documents: Documents, sweep: Sweep, number: int) -> tuple[Fact, ...]:
    here = f"/sweep/points/{number}"
    fact = documents.fact
    error = sweep.points[number].error
    return (
        fact(f"{here}/number", "Point", partial(_marked, sweep=sweep), kind="number"),
        *(fact(f"{here}/settings/{name}", _SETTINGS.get(name, name.capitalize()), _setting) for name in sweep.swept),
        _score(documents, f"{here}/forget", "To forget", broken=error is not None),
        _score(documents, f"{here}/utility", "To keep", broken=error is not None),
        *(
            (_score(documents, f"{here}/attacked", "After the attack", broken=error is not None),)
            if sweep.attack
            else ()
        ),
        fact(f"{here}/change_norm", "‖ΔW‖", or_else(short, "none"), kind="number"),
        fact(f"{here}/standing", "Thresholds", _STANDINGS.__getitem__)
        if error is None
        else fact(f"{here}/error", "Thresholds"),
    )


def _marked(number: int, *, sweep: Sweep) -> str:
    if number == sweep.chosen:
        return f"{number} (chosen)"
    return f"{number} (front)" if number in sweep.front else str(number)


def _setting(value: Any) -> str:
    return f"{plain(value['relative'])} × mean ‖h‖" if isinstance(value, dict) else plain(value)


def _score(documents: Documents, pointer: str, label: str, *, broken: bool) -> Fact:
    if broken:
        return documents.fact(pointer, label, or_else(plain, "none"))
    spread = documents.fact(f"{pointer}/interval", "Interval", interval("acc"), kind="number")
    return documents.fact(f"{pointer}/value", label, percent, kind="number", beside=spread)
