"""`govern stress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from govern.cli.console import errors, output, print_json, printable, shown_progress
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    DeviceOption,
    JsonOption,
    MirrorOption,
    NoInputOption,
    RunArgument,
    WorkspaceOption,
)
from govern.cli.verify import EXIT, STYLE
from govern.errors import ExitCode

if TYPE_CHECKING:
    from govern.records import AttackResult, Stress
    from govern.workflow.stress import Cost


def stress(
    run: RunArgument = None,
    *,
    mirror: MirrorOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Attack a removal as its policy says, or else with the standard attacks, and the untouched model as control.

    The exit code is that of the worst attack with a max_recovery.
    """
    from rich.text import Text

    from govern.workflow.stress import stress as run_stress

    with shown_progress() as progress:
        found = run_stress(
            run, workspace=workspace, mirror=mirror, device=device, announce=show_costs, progress=progress
        )
    if as_json:
        print_json({**found.stress.to_json(), "file": str(found.path)})
    else:
        show_stress(found.stress)
        output().print(Text(str(found.path)), soft_wrap=True)
    raise typer.Exit(EXIT[found.stress.verdict] if found.stress.verdict else ExitCode.OK)


def show_costs(costs: tuple[Cost, ...]) -> None:
    """Say on stderr what is about to be done, before it starts."""
    from rich.text import Text

    for cost in costs:
        training = f"{cost.steps} steps of fine-tuning, " if cost.steps else ""
        errors().print(Text(printable(f"{cost.task}: {cost.name}: {training}{cost.questions} questions")))


def show_stress(stress: Stress) -> None:
    """Print what each attack brought back."""
    from rich.table import Table
    from rich.text import Text

    table = Table("attack", "edited", "base", "recovered", "verdict", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for result in stress.results:
        table.add_row(
            Text(printable(result.name)),
            f"{result.edited:.0%} → {result.attacked:.0%}",
            f"{result.base:.0%} → {result.control:.0%}",
            recovered(result),
            Text(result.verdict, style=STYLE[result.verdict]) if result.verdict else "",
        )
    output().print(table)
    for result in stress.results:
        if result.verdict not in (None, "pass"):
            output().print(Text(printable(f"{result.name}: {result.reason}")))


def recovered(result: AttackResult) -> str:
    """The recovered share with its interval."""
    if result.recovered is None or result.recovered_interval is None:
        return "unknown"
    between = result.recovered_interval
    return f"{result.recovered:.0%} ({between.low:.0%} to {between.high:.0%})"
