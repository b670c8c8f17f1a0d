"""The geometry of the report's pictures; the templates draw it as inline SVG.

Horizontal places are percentages of the drawing's width and text is never scaled, so that one picture is legible on a
phone and on paper; colours are left to the style sheet. All numbers are rounded to strings here: the same run gives the
same bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from govern.gates.registry import GATES
from govern.records import AttackResult, CurvePoint, GateResult, Interval, Sweep, SweepPoint, TaskResult
from govern.records.base import Record
from govern.reporting.facts import Line
from govern.reporting.forms import LARGEST_FINITE, MINUS


class Tick(Record):
    """A labelled place on an axis, in per cent of its length."""

    at: str
    label: Line
    anchor: str = "middle"


class Mark(Record):
    """An estimate with its interval, in per cent of the axis."""

    at: str
    low: str
    high: str
    width: str


class Band(Record):
    """The part of the axis that a gate allows."""

    at: str
    width: str
    limit: str


class ChangeChart(Record):
    """A value before and after; for a gate, against what it allows, carried over to the after-value's scale."""

    before: Mark
    after: Mark
    band: Band | None
    bound: str | None
    chance: str | None
    ticks: tuple[Tick, ...]


class Trace(Record):
    """One line of a curve: points of a drawing 1000 wide and 1000 high, y downwards."""

    topic: Line
    points: str


class CurveChart(Record):
    """A loss over the steps of a solver, one line a topic."""

    name: Line
    traces: tuple[Trace, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


class Spot(Record):
    """One point of a sweep in its picture, in per cent of the width and of the height, y downwards."""

    x: str
    y: str
    kind: Literal["chosen", "front", "other"]


class FrontChart(Record):
    """What is left of what has to go (x, over all of [0, 1]) against what is kept (y), for every point of a sweep.

    `before` is the base model, `ceiling` the width of what the policy allows on x, where it has one ceiling.
    """

    spots: tuple[Spot, ...]
    front: str
    before: Spot
    ceiling: str | None
    chance: str
    y_ticks: tuple[Tick, ...]


class MethodMark(Record):
    """A method's best point: forgetting on x, utility on y, each with its interval, in per cent, y downwards.

    `label` is the height of its name in the column beside the drawing, where no two names overlap.
    """

    method: Line
    x: Mark
    y: str
    top: str
    bottom: str
    label: str


class MethodsChart(Record):
    """What is left of what has to go (x, over all of [0, 1]) against what is kept (y), for the best of each method."""

    marks: tuple[MethodMark, ...]
    before: Spot
    chance: str
    y_ticks: tuple[Tick, ...]


class Scale:
    """A linear map of [low, high] onto 0 to 100 per cent; what lies outside is held at the edge."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def share(self, value: float) -> float:
        """Where `value` lies, from 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def at(self, value: float) -> str:
        """Where `value` lies, in per cent."""
        return f"{100 * self.share(value):.2f}"

    def mark(self, value: float, interval: Interval) -> Mark:
        """An estimate and its interval."""
        width = 100 * (self.share(interval.high) - self.share(interval.low))
        return Mark(at=self.at(value), low=self.at(interval.low), high=self.at(interval.high), width=f"{width:.2f}")

    def band(self, low: float, high: float, limit: float) -> Band:
        """The allowed part, ending at `limit`."""
        return Band(at=self.at(low), width=f"{100 * (self.share(high) - self.share(low)):.2f}", limit=self.at(limit))


def round_ticks(low: float, high: float, about: int) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], roughly `about` of them."""
    raw = (high - low) / max(1, about)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def number(value: float) -> str:
    """A tick's label."""
    return f"{value:.6g}".replace("-", MINUS)


_ACCURACY = Scale(0.0, 1.0)
_ACCURACY_TICKS = (
    Tick(at="0.00", label="0", anchor="start"),
    Tick(at="25.00", label="25"),
    Tick(at="50.00", label="50"),
    Tick(at="75.00", label="75"),
    Tick(at="100.00", label="100\N{NO-BREAK SPACE}%", anchor="end"),
)


def gate_chart(gate: GateResult, *, chance: float | None) -> ChangeChart:
    """A gate: before → after, with intervals, against the threshold carried over to the after-value's scale."""
    kind = GATES[gate.kind]
    limit, bound = (kind.afterwards(gate.before, value) for value in (gate.threshold, gate.bound))
    scale, ticks = _axis(gate, limit, bound)
    return ChangeChart(
        before=scale.mark(gate.before, gate.before_interval),
        after=scale.mark(gate.after, gate.after_interval),
        band=scale.band(*kind.allowed(gate), limit),
        bound=scale.at(bound),
        chance=None if chance is None or gate.metric == "perplexity" else scale.at(chance),
        ticks=ticks,
    )


def result_chart(result: TaskResult) -> ChangeChart:
    """A result that no gate judges."""
    scale, ticks = _axis(result)
    return ChangeChart(
        before=scale.mark(result.before, result.before_interval),
        after=scale.mark(result.after, result.after_interval),
        band=None,
        bound=None,
        chance=None if result.chance is None else scale.at(result.chance),
        ticks=ticks,
    )


def attack_chart(found: AttackResult) -> ChangeChart:
    """An attack with a limit: edited → attacked. The limit and the bound, shares of what the removal took, become
    accuracies; the accuracies have no intervals of their own, the recovered share has.
    """
    taken = found.base - found.edited
    limit = found.edited + (found.max_recovery or 0.0) * taken
    return ChangeChart(
        before=_ACCURACY.mark(found.edited, Interval(low=found.edited, high=found.edited)),
        after=_ACCURACY.mark(found.attacked, Interval(low=found.attacked, high=found.attacked)),
        band=_ACCURACY.band(-math.inf, limit, limit),
        bound=None if found.bound is None else _ACCURACY.at(found.edited + found.bound * taken),
        chance=_ACCURACY.at(found.chance),
        ticks=_ACCURACY_TICKS,
    )


def _axis(result: GateResult | TaskResult, *also: float) -> tuple[Scale, tuple[Tick, ...]]:
    """Accuracies share one scale; a perplexity has one that shows its small differences."""
    if result.metric != "perplexity":
        return _ACCURACY, _ACCURACY_TICKS
    values = [
        value
        for value in (
            *(result.before_interval.low, result.before_interval.high, result.before),
            *(result.after_interval.low, result.after_interval.high, result.after),
            *also,
        )
        if abs(value) < LARGEST_FINITE
    ]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    scale = Scale(low - room, high + room)
    return scale, tuple(Tick(at=scale.at(tick), label=number(tick)) for tick in round_ticks(scale.low, scale.high, 3))


def curve_charts(curve: Sequence[CurvePoint]) -> tuple[CurveChart, ...]:
    """Forget and retain loss over the steps, each on its own scale from zero. A single point is no curve, and a method
    that does not look at retain text has no curve of it."""
    steps = [point.step for point in curve]
    if len(set(steps)) < 2:
        return ()
    retain = [point.retain_loss for point in curve if point.retain_loss is not None]
    forget_curve = _curve("Forget loss", curve, [point.forget_loss for point in curve])
    return (forget_curve, _curve("Retain loss", curve, retain)) if len(retain) == len(curve) else (forget_curve,)


def _curve(name: str, curve: Sequence[CurvePoint], losses: Sequence[float]) -> CurveChart:
    x = Scale(min(point.step for point in curve), max(point.step for point in curve))
    y = Scale(0.0, max(losses) * 1.05 or 1.0)
    topics = dict.fromkeys(point.topic for point in curve)
    traces = tuple(
        Trace(
            topic=topic,
            points=" ".join(
                f"{1000 * x.share(point.step):.1f},{1000 * (1 - y.share(loss)):.1f}"
                for point, loss in zip(curve, losses, strict=True)
                if point.topic == topic
            ),
        )
        for topic in topics
    )
    return CurveChart(
        name=name,
        traces=traces,
        x_ticks=tuple(Tick(at=x.at(tick), label=number(tick)) for tick in round_ticks(x.low, x.high, 6)),
        y_ticks=tuple(
            Tick(at=f"{100 - float(y.at(tick)):.2f}", label=number(tick)) for tick in round_ticks(0.0, y.high, 5)
        ),
    )


def front_chart(sweep: Sweep) -> FrontChart:
    """The points of a sweep, the front that no other beats joined by a line, and the base model."""
    scored = [
        (point.number, point.forget.value, point.utility.value)
        for point in sweep.points
        if point.forget and point.utility
    ]
    kept = [sweep.utility_before.value, *(utility for _, _, utility in scored)]
    room = 0.08 * (max(kept) - min(kept)) or 0.05
    y = Scale(max(0.0, min(kept) - room), min(1.0, max(kept) + room))

    def spot(forget: float, utility: float, kind: Literal["chosen", "front", "other"]) -> Spot:
        return Spot(x=_ACCURACY.at(forget), y=f"{100 * (1 - y.share(utility)):.2f}", kind=kind)

    # Drawn in this order, so that the chosen point lies on top.
    ranked = sorted(scored, key=lambda entry: (entry[0] == sweep.chosen, entry[0] in sweep.front))
    spots = tuple(
        spot(
            forget,
            utility,
            "chosen" if number == sweep.chosen else "front" if number in sweep.front else "other",
        )
        for number, forget, utility in ranked
    )
    line = sorted((forget, utility) for number, forget, utility in scored if number in sweep.front)
    ceilings = {gate.threshold for point in sweep.points for gate in point.gates if GATES[gate.kind].group == "forget"}
    return FrontChart(
        spots=spots,
        front=" ".join(f"{1000 * forget:.1f},{1000 * (1 - y.share(utility)):.1f}" for forget, utility in line),
        before=spot(sweep.forget_before.value, sweep.utility_before.value, "other"),
        ceiling=_ACCURACY.at(ceilings.pop()) if len(ceilings) == 1 else None,
        chance=_ACCURACY.at(sweep.chance),
        y_ticks=tuple(
            Tick(at=f"{100 - float(y.at(tick)):.2f}", label=number(100 * tick))
            for tick in round_ticks(y.low, y.high, 4)
        ),
    )


def methods_chart(sweep: Sweep, best: Sequence[SweepPoint]) -> MethodsChart:
    """The best point of each method with both intervals, and the base model."""
    scored = [(point.group, point.forget, point.utility) for point in best if point.forget and point.utility]
    kept = [sweep.utility_before.value]
    kept += [value for _, _, utility in scored for value in (utility.interval.low, utility.interval.high)]
    room = 0.04 * (max(kept) - min(kept)) or 0.05
    y = Scale(max(0.0, min(kept) - room), min(1.0, max(kept) + room))

    def down(value: float) -> str:
        return f"{100 * (1 - y.share(value)):.2f}"

    # From the highest down, as the names stand in their column.
    scored.sort(key=lambda entry: (-entry[2].value, entry[1].value))
    heights = _apart([1 - y.share(utility.value) for _, _, utility in scored])
    return MethodsChart(
        marks=tuple(
            MethodMark(
                method=method,
                x=_ACCURACY.mark(forget.value, forget.interval),
                y=down(utility.value),
                top=down(utility.interval.high),
                bottom=down(utility.interval.low),
                label=f"{100 * height:.2f}",
            )
            for (method, forget, utility), height in zip(scored, heights, strict=True)
        ),
        before=Spot(x=_ACCURACY.at(sweep.forget_before.value), y=down(sweep.utility_before.value), kind="other"),
        chance=_ACCURACY.at(sweep.chance),
        y_ticks=tuple(
            Tick(at=f"{100 - float(y.at(tick)):.2f}", label=number(100 * tick))
            for tick in round_ticks(y.low, y.high, 4)
        ),
    )


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights in [0, 1], moved as little as keeps a line of text between two of them."""
    gap = min(0.06, 1 / max(1, len(heights)))
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + gap) if places else height)
    limit = 1.0
    for place in range(len(places) - 1, -1, -1):
        places[place] = min(places[place], limit)
        limit = places[place] - gap
    return places


def sample(length: int, at_most: int) -> tuple[int, ...]:
    """Indices spread evenly over a sequence, its first and last included."""
    if length <= at_most:
        return tuple(range(length))
    return tuple(round(index * (length - 1) / (at_most - 1)) for index in range(at_most))
