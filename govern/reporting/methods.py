"""A comparison of methods for reading: what was held equal, the picture, and every point in a table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from govern.records import Plan, Standing, Sweep, SweepPoint
from govern.records.base import Record
from govern.reporting.charts import MethodsChart, methods_chart
from govern.reporting.facts import (
    NO_BREAK_SPACE,
    Column,
    Documents,
    Fact,
    Line,
    count,
    interval,
    or_else,
    percent,
    seconds,
    utc,
)
from govern.reporting.render import Page, Rendered, render

_STYLES = ("report.css", "methods.css")

_STANDINGS: dict[Standing, str] = {
    "bound": "met by the bounds",
    "estimate": "met by the estimates",
    "none": "missed",
}


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
    fact = documents.fact
    chosen = {point.number for point in best.values()}
    return MethodsView(
        title=f"Methods on {plan.policy_name}",
        throwaway=report["signer"]["kind"] == "throwaway",
        issued=fact("/report/issued", "Issued", utc),
        sweep=fact("/sweep/sweep", "Comparison", kind="code"),
        model=fact("/plan/model/source", "Model"),
        compared=(
            fact("/report/budget", "Budget of one removal", or_else(seconds, "not recorded"), kind="number"),
            fact("/report/points", "Settings of each method", kind="number"),
            fact("/sweep/points", "Points in all", count, kind="number"),
            fact("/plan/seed", "Seed", kind="number"),
            _score(documents, "/sweep/forget_before", "To forget, unedited"),
            _score(documents, "/sweep/utility_before", "To keep, unedited"),
            fact("/sweep/forget_before/n", "Questions about what has to go", count, kind="number"),
            fact("/sweep/utility_before/n", "Questions about what must stay", count, kind="number"),
            fact("/sweep/chance", "Guessing", percent, kind="number"),
            fact("/sweep/seconds", "Time of the comparison", seconds, kind="number"),
            fact("/plan/environment/processor", "Processor"),
            fact("/plan/environment/device", "Device"),
        ),
        bound=(
            fact("/plan/policy_name", "Policy"),
            fact("/sweep/policy_digest", "Policy's digest", kind="code"),
            fact("/plan/policy_sha256", "SHA-256 of its file", kind="code"),
            fact("/sweep/plan_digest", "Plan's digest", kind="code"),
            fact("/sweep/model_digest", "Model's digest", kind="code"),
            fact("/report/signer/fingerprint", "Signer's key", kind="code"),
            fact("/report/audit/origin", "Audit log", kind="code"),
            fact("/report/audit/seq", "Stands on event", kind="number"),
            fact("/report/audit/leaf", "Leaf of that event", kind="code"),
        ),
        chart=methods_chart(sweep, tuple(best.values())),
        columns=(
            Column(label="Method"),
            Column(label="Setting"),
            Column(label="To forget", numeric=True),
            Column(label="To keep", numeric=True),
            Column(label="Time of the removal", numeric=True),
            Column(label="Peak memory", numeric=True),
            Column(label="Thresholds"),
        ),
        rows=tuple(
            MethodRow(cells=_row(documents, point, place), best=point.number in chosen)
            for place, point in enumerate(sweep.points)
        ),
        unscored=tuple(dict.fromkeys(point.group for point in sweep.points if point.group not in best)),
        confidence=fact("/sweep/confidence", "Confidence", partial(percent, decimals=0), kind="number"),
    )


def render_methods(view: MethodsView) -> Rendered:
    """The page: one self-contained HTML file."""
    return render([Page("methods.html.j2", {"view": view}, _STYLES)])[0]


def _row(documents: Documents, point: SweepPoint, place: int) -> tuple[Fact, ...]:
    here = f"/sweep/points/{place}"
    fact = documents.fact
    scored = point.forget is not None and point.utility is not None
    tried = bool(point.label)  # a method that cannot be made from the policy is a row without a setting
    return (
        fact(f"{here}/group", "Method"),
        fact(f"{here}/label", "Setting", lambda label: label or "none"),
        _score(documents, f"{here}/forget", "To forget") if scored else fact(f"{here}/forget", "To forget", _none),
        _score(documents, f"{here}/utility", "To keep") if scored else fact(f"{here}/utility", "To keep", _none),
        fact(f"{here}/edit_seconds", "Time of the removal", seconds if tried else _none, kind="number"),
        fact(f"{here}/edit_peak_bytes", "Peak memory", gibibytes, kind="number")
        if point.edit_peak_bytes is not None
        else fact(here, "Peak memory", _not_recorded if tried else _none),
        fact(f"{here}/standing", "Thresholds", _STANDINGS.__getitem__)
        if point.error is None
        else fact(f"{here}/error", "Thresholds"),
    )


def _none(_value: Any) -> str:
    return "none"


def _not_recorded(_value: Any) -> str:
    return "not recorded"


def gibibytes(value: int) -> str:
    """A size of memory."""
    return f"{value / 2**30:.2f}{NO_BREAK_SPACE}GiB"


def _score(documents: Documents, pointer: str, label: str) -> Fact:
    spread = documents.fact(f"{pointer}/interval", "Interval", interval("acc"), kind="number")
    return documents.fact(f"{pointer}/value", label, percent, kind="number", beside=spread)
