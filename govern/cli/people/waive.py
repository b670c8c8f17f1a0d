"""`govern waive`."""

from __future__ import annotations

from typing import Annotated

import typer

from govern.cli.console import tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption, parse_time
from govern.cli.signer import OwnKeyOption, own_key


def waive(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    *,
    gate: Annotated[
        str,
        typer.Option("--gate", metavar="TASK/METRIC", help="The gate; add /KIND or /ATTACK where two share the rest."),
    ],
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The day on which the waiver ends, in UTC.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in your own words. They are signed as well.")],
    key: OwnKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Sign an exception from a gate that was not passed, for a time. The verdict stays what it is."""

    from govern.workflow.people.waive import waive as run_waive

    granted = run_waive(
        run,
        gate=gate,
        until=parse_time(until) or until,
        reason=reason,
        workspace=workspace,
        key=own_key(key, "a waiver", workspace=workspace, no_input=no_input),
    )
    waiver = granted.act
    tell(
        {"waiver": waiver.to_json(), "folder": str(granted.path)},
        f"{waiver.gate} waived until {waiver.until[:10]} by {waiver.approver.person}, {waiver.approver.role}\n"
        f"the verdict of the gate stays {waiver.verdict}\n"
        f"waiver {granted.path}",
        as_json=as_json,
    )
