"""`govern stress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from govern.cli.console import errors, print_json, printable, say, shown_progress
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    DeviceOption,
    JsonOption,
    MirrorOption,
    NoInputOption,
    RunArgument,
    WorkspaceOption,
)
from govern.cli.verdict import EXIT, show_attacks
from govern.errors import ExitCode

if TYPE_CHECKING:
    from govern.workflow.verification.stress import AttackCost


def stress(
    run: RunArgument = None,
    *,
    mirror: MirrorOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Attack a removal as its policy says, or else with the standard attacks, and the base model as control.

    The exit code is that of the worst attack with a max_recovery.
    """

    from govern.workflow.verification.stress import stress as run_stress

    with shown_progress() as progress:
        found = run_stress(
            run, workspace=workspace, mirror=mirror, device=device, announce=show_costs, progress=progress
        )
    if as_json:
        print_json({**found.stress.to_json(), "file": str(found.path)})
    else:
        show_attacks(found.stress.results)
        say(str(found.path))
    raise typer.Exit(EXIT[found.stress.verdict] if found.stress.verdict else ExitCode.OK)


def show_costs(costs: tuple[AttackCost, ...]) -> None:
    """Say on stderr what is about to be done, before it starts."""
    from rich.text import Text

    for cost in costs:
        training = f"{cost.steps} steps of fine-tuning, " if cost.steps else ""
        search = f", {cost.prefixes} prefixes on {cost.searched} questions each" if cost.prefixes else ""
        errors().print(Text(printable(f"{cost.task}: {cost.name}: {training}{cost.questions} questions{search}")))
