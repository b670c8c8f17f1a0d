"""Why a removal has the parameters that it has: the sweep that chose them, as facts, a picture and a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from govern.records import Standing, Sweep
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.charts import FrontChart, front_chart
from govern.reporting.facts import Documents, Fact, Field, Table, between, code, columns, number
from govern.stress.relearning import Relearning

# More points than this make a table that nobody reads; the picture still has them all.
_ROWS = 40

_SETTINGS = {"coefficient": "c", "scale": "s", "retain_weight": "α", "importance": "Map", "direction": "Direction"}

STANDINGS: dict[Standing, str] = {
    "bound": "met by the bounds",
    "estimate": "met by the estimates",
    "none": "missed",
}


def _described(attack: dict[str, Any]) -> str:
    return Relearning.model_validate(attack).describe()


_ATTACK = (
    Field("sweep/attack", "Attack on every point", _described),
    number(
        "sweep/attacked_before/value",
        "To forget, unedited and attacked",
        forms.percent,
        beside=between("sweep/attacked_before/interval", forms.interval("acc")),
    ),
)


class ReasonView(Record):
    """The sweep that chose the parameters."""

    facts: tuple[Fact, ...]
    chart: FrontChart
    table: Table


def build_reason(documents: Documents, sweep: Sweep) -> ReasonView:
    """Arrange a sweep for reading; `documents` holds it as "sweep" and the plan that took its choice."""
    unedited = (("forget", "To forget, before any edit"), ("utility", "To keep, before any edit"))
    return ReasonView(
        facts=documents.rows(
            (
                Field("sweep/rule", "Rule"),
                Field("sweep/reason", "Reason"),
                number("sweep/points", "Points tried"),
                number("plan/sweep/point", "Chosen point (counted from 0)", forms.plain),
                *(score(f"sweep/{name}_before", label) for name, label in unedited),
                *(_ATTACK if sweep.attack and sweep.attacked_before else ()),
                code("plan/sweep/sweep", "Sweep"),
                code("plan/sweep/digest", "SHA-256 of its record"),
                code(f"sweep/points/{sweep.chosen}/delta_sha256", "Delta that the sweep scored"),
                number("sweep/seconds", "Time of the sweep", forms.seconds),
            )
        ),
        chart=front_chart(sweep),
        table=_table(documents, sweep),
    )


def score(name: str, label: str) -> Field:
    """A score of a sweep, with its interval."""
    return number(f"{name}/value", label, forms.percent, beside=between(f"{name}/interval", forms.interval("acc")))


def _table(documents: Documents, sweep: Sweep) -> Table:
    numbers = list(range(len(sweep.points)))
    caption = "All points, scored on the questions that choose settings"
    if len(numbers) > _ROWS:
        shown = {*sweep.front, *([] if sweep.chosen is None else [sweep.chosen])}
        numbers = [number for number in numbers if number in shown]
        caption = "The points that no other one beats in both; the record of the sweep and the log hold the others"
    rows = ((f"/sweep/points/{number}", sweep.points[number].error is not None) for number in numbers)
    return Table(
        caption=caption,
        columns=columns(_fields(sweep)),
        rows=tuple(documents.rows(_fields(sweep, broken=broken), here) for here, broken in rows),
    )


def _fields(sweep: Sweep, *, broken: bool = False) -> Iterator[Field]:
    """A point's columns; one that is `broken` has no scores, and its error."""

    def measured(name: str, label: str) -> Field:
        return Field(name, label, forms.or_else(forms.plain, "none")) if broken else score(name, label)

    yield number("number", "Point", partial(_marked, sweep=sweep))
    for name in sweep.swept:
        yield Field(f"settings/{name}", _SETTINGS.get(name, name.capitalize()), _setting)
    yield measured("forget", "To forget")
    yield measured("utility", "To keep")
    if sweep.attack:
        yield measured("attacked", "After the attack")
    yield number("change_norm", "‖ΔW‖", forms.or_else(forms.short, "none"))
    yield Field("error", "Thresholds") if broken else Field("standing", "Thresholds", STANDINGS.__getitem__)


def _marked(number: int, *, sweep: Sweep) -> str:
    if number == sweep.chosen:
        return f"{number} (chosen)"
    return f"{number} (front)" if number in sweep.front else str(number)


def _setting(value: Any) -> str:
    return f"{forms.plain(value['relative'])} × mean ‖h‖" if isinstance(value, dict) else forms.plain(value)
