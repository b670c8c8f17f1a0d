"""Two runs side by side on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from govern.cli.console import columns, output, printable, say
from govern.cli.verdict import STYLE, bound, figure

if TYPE_CHECKING:
    from rich.text import Text

    from govern.records import GateResult
    from govern.reporting.comparison import Comparison


def show_comparison(found: Comparison) -> None:
    """Print a comparison."""
    from rich.text import Text

    console = output()
    runs = columns("", "A", "B", fold=range(3))
    for name in ("run", "policy", "model", "method", "issued"):
        runs.add_row(name, *(Text(printable(getattr(run, name))) for run in (found.first, found.second)))
    runs.add_row("verdict", *(Text(run.verdict, style=STYLE[run.verdict]) for run in (found.first, found.second)))
    runs.add_row("attempt", str(found.first.attempt), str(found.second.attempt))
    console.print(runs)
    for note in found.notes:
        say(f"note: {note}", style="yellow", wrap=True)

    gates = columns("gate", "before", "after A", "after B", "A", "B", right=[1, 2, 3], fold=range(6))
    for gate in found.gates:
        either = gate.first or gate.second
        assert either is not None  # noqa: S101 - a gate is listed because one of them has it
        gates.add_row(
            Text(printable("\n".join((gate.task, *gate.rules)))),
            _before(gate.first, gate.second),
            *(_after(side) for side in (gate.first, gate.second)),
            *(_verdict(side) for side in (gate.first, gate.second)),
        )
    console.print()
    console.print(gates)
    console.print()
    if not found.differences:
        say("The plans are the same.")
        return
    settings = columns("differs", "A", "B", fold=range(3))
    settings.columns[0].ratio, settings.columns[1].ratio, settings.columns[2].ratio = 4, 3, 3
    settings.expand = True
    for difference in found.differences:
        settings.add_row(
            *(Text(printable(_short(text))) for text in (difference.name, difference.first, difference.second))
        )
    console.print(settings)


def _before(first: GateResult | None, second: GateResult | None) -> str:
    return " / ".join(dict.fromkeys(figure(gate, gate.before) for gate in (first, second) if gate))


def _after(gate: GateResult | None) -> str:
    return f"{figure(gate, gate.after)}\n{bound(gate)}" if gate else "no gate"


def _verdict(gate: GateResult | None) -> Text:
    from rich.text import Text

    return Text(gate.verdict, style=STYLE[gate.verdict]) if gate else Text("")


def _short(text: str) -> str:
    """A digest's beginning tells two apart; the whole of it is in the JSON."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text)
