"""A comparison of methods for reading: what was held equal, the picture, and every point in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from govern.records import Plan, Sweep, SweepPoint
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.charts import MethodsChart, methods_chart
from govern.reporting.facts import Column, Documents, Fact, Field, Line, code, columns, number
from govern.reporting.reason import STANDINGS, score
from govern.reporting.render import Page, Rendered, render

_STYLES = ("report.css", "methods.css")

_COMPARED = (
    number("report/budget", "Budget of one removal", forms.or_else(forms.seconds, "not recorded")),
    number("report/points", "Settings of each method", forms.plain),
    number("sweep/points", "Points in all"),
    number("plan/seed", "Seed", forms.plain),
    score("sweep/forget_before", "To forget, unedited"),
    score("sweep/utility_before", "To keep, unedited"),
    number("sweep/forget_before/n", "Questions about what has to go"),
    number("sweep/utility_before/n", "Questions about what must stay"),
    number("sweep/chance", "Guessing", forms.percent),
    number("sweep/seconds", "Time of the comparison", forms.seconds),
    Field("plan/environment/processor", "Processor"),
    Field("plan/environment/device", "Device"),
)
_BOUND = (
    Field("plan/policy_name", "Policy"),
    code("sweep/policy_digest", "Policy's digest"),
    code("plan/policy_sha256", "SHA-256 of its file"),
    code("sweep/plan_digest", "Plan's digest"),
    code("sweep/model_digest", "Model's digest"),
    code("report/signer/fingerprint", "Signer's key"),
    code("report/audit/origin", "Audit log"),
    number("report/audit/seq", "Stands on event", forms.plain),
    code("report/audit/leaf", "Leaf of that event"),
)


class MethodRow(Record):
    """One point as a row of the table; its first fact is the method. `best` is its method's best point."""

    cells: tuple[Fact, ...]
    best: bool


class MethodsView(Record):
    """A comparison for its page. `unscored` are the methods of which no point was scored."""

    title: Line
    throwaway: bool
    issued: Fact
    sweep: Fact
    model: Fact
    compared: tuple[Fact, ...]
    bound: tuple[Fact, ...]
    chart: MethodsChart
    columns: tuple[Column, ...]
    rows: tuple[MethodRow, ...]
    unscored: tuple[Line, ...]
    confidence: Fact


def build_methods(sweep: Sweep, plan: Plan, report: Mapping[str, Any], best: Mapping[str, SweepPoint]) -> MethodsView:
    """Arrange a comparison for reading.

    `best` holds the best point of each method that has one; `report` says when it was issued (`issued`), by whose key
    (`signer`), with which `budget` in seconds and how many `points` a method, and where the log stood (`audit`).
    """
    documents = Documents({"sweep": sweep.to_json(), "plan": plan.to_json(), "report": dict(report)})
    chosen = {point.number for point in best.values()}
    return MethodsView(
        title=f"Methods on {plan.policy_name}",
        throwaway=report["signer"]["kind"] == "throwaway",
        issued=documents.fact("/report/issued", "Issued", forms.utc),
        sweep=documents.fact("/sweep/sweep", "Comparison", kind="code"),
        model=documents.fact("/plan/model/source", "Model"),
        compared=documents.rows(_COMPARED),
        bound=documents.rows(_BOUND),
        chart=methods_chart(sweep, tuple(best.values())),
        columns=columns(_fields()),
        rows=tuple(
            MethodRow(cells=_row(documents, point, f"/sweep/points/{place}"), best=point.number in chosen)
            for place, point in enumerate(sweep.points)
        ),
        unscored=tuple(dict.fromkeys(point.group for point in sweep.points if point.group not in best)),
        confidence=documents.fact("/sweep/confidence", "Confidence", partial(forms.percent, decimals=0), kind="number"),
    )


def render_methods(view: MethodsView) -> Rendered:
    """The page: one self-contained HTML file."""
    return render([Page("methods.html.j2", {"view": view}, _STYLES)])[0]


def _row(documents: Documents, point: SweepPoint, here: str) -> tuple[Fact, ...]:
    return documents.rows(_fields(point), here)


def _fields(point: SweepPoint | None = None) -> Iterator[Field]:
    """The columns, and what stands in them for a point. A method that the policy cannot make has no settings."""
    scored = point is None or (point.forget is not None and point.utility is not None)
    tried = point is None or bool(point.label)
    yield Field("group", "Method")
    yield Field("label", "Setting", lambda label: label or "none")
    for name, label in (("forget", "To forget"), ("utility", "To keep")):
        yield score(name, label) if scored else Field(name, label, _none)
    yield number("edit_seconds", "Time of the removal", forms.seconds if tried else _none)
    if point is None or point.edit_peak_bytes is not None:
        yield number("edit_peak_bytes", "Peak memory", gibibytes)
    else:
        yield Field("", "Peak memory", (lambda _: "not recorded") if tried else _none)
    if point is None or point.error is None:
        yield Field("standing", "Thresholds", STANDINGS.__getitem__)
    else:
        yield Field("error", "Thresholds")


def _none(_value: Any) -> str:
    return "none"


def gibibytes(value: int) -> str:
    """A size of memory."""
    return f"{value / 2**30:.2f}{forms.NO_BREAK_SPACE}GiB"
