"""How a verdict, a gate and an attack are said on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.cli.console import columns, output, printable, say
from govern.errors import ExitCode

if TYPE_CHECKING:
    from govern.records import AttackResult, GateResult, VerdictValue

EXIT = {"pass": ExitCode.OK, "fail": ExitCode.GATE_FAILED, "inconclusive": ExitCode.INCONCLUSIVE}
STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def say_verdict(verdict: VerdictValue, rest: str) -> None:
    """Print a verdict in its colour, and the rest of the line."""
    from rich.text import Text

    output().print(Text.assemble("verdict ", (verdict, STYLE[verdict]), printable(rest)))


def show_attacks(results: tuple[AttackResult, ...]) -> None:
    """Print what each attack brought back."""
    from rich.text import Text

    table = columns("attack", "edited", "base", "recovered", "verdict", right=[1, 2, 3])
    for result in results:
        table.add_row(
            Text(printable(result.name)),
            f"{result.edited:.0%} → {result.attacked:.0%}",
            f"{result.base:.0%} → {result.control:.0%}",
            recovered(result),
            Text(result.verdict, style=STYLE[result.verdict]) if result.verdict else "",
        )
    output().print(table)
    for result in results:
        if result.verdict not in (None, "pass"):
            say(f"{result.name}: {result.reason}", wrap=True)


def recovered(result: AttackResult) -> str:
    """The recovered share with its interval."""
    if result.recovered is None or result.recovered_interval is None:
        return "unknown"
    between = result.recovered_interval
    return f"{result.recovered:.0%} ({between.low:.0%} to {between.high:.0%})"


def figure(gate: GateResult, value: float) -> str:
    """An accuracy in per cent, or a perplexity."""
    return f"{value:.2f}" if gate.metric == "perplexity" else f"{value:.1%}"


def bound(gate: GateResult) -> str:
    """The bound that was held against the threshold, in the threshold's unit."""
    from govern.gates.registry import GATES

    return f"{gate.bound:+.1%}" if GATES[gate.kind].change else f"{gate.bound:.1%}"
