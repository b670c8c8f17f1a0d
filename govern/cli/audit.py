"""`govern audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption

app = typer.Typer(help="Read the audit log, or check it and everything it binds.", no_args_is_help=True)


@app.command("log")
def show_log(
    *,
    run: Annotated[str | None, typer.Option("--run", help="Only this run's events.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Print the events, oldest first."""
    from rich.table import Table
    from rich.text import Text

    from govern.workflow.audit import read_log

    stored = read_log(workspace, run=run)
    if as_json:
        print_json({"events": [{"leaf": entry.leaf, **entry.event.to_json()} for entry in stored]})
        return
    table = Table("seq", "time (UTC)", "event", "run", "what", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    for entry in stored:
        event = entry.event
        what = event.parameters.get("verdict") or event.parameters.get("error") or ""
        table.add_row(
            str(event.seq), event.time[:19].replace("T", " "), event.type, event.run or "", Text(printable(str(what)))
        )
    output().print(table)


@app.command("verify")
def verify_log(*, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Check the log's chain, every artefact of every run against it, and every report's signature."""
    from rich.text import Text

    from govern.workflow.audit import audit

    audited = audit(workspace)
    if as_json:
        print_json(
            {
                "valid": True,
                "origin": audited.head.origin,
                "events": audited.head.size,
                "leaf": audited.head.leaf,
                "runs": audited.runs,
                "artefacts": audited.artefacts,
                "reports": audited.reports,
                "reviews": audited.reviews,
            }
        )
        return
    output().print(
        Text(
            f"the log holds: {audited.head.size} events, {audited.runs} runs, {audited.artefacts} artefacts, "
            f"{audited.reports} reports, {audited.reviews} sign-offs\nhead sha256:{audited.head.leaf}"
        ),
        soft_wrap=True,
    )
