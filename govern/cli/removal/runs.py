"""`govern runs`."""

from __future__ import annotations

from typing import Annotated

import typer

from govern.cli.console import columns, output, print_json, say
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.errors import UsageError

app = typer.Typer(help="Tidy up runs. What they came to is for `govern status`.", no_args_is_help=True)


@app.command("prune")
def prune_runs(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="The ids of runs.")] = None,
    *,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="All finished runs but the newest N.")] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", min=0, max=36500, metavar="DAYS", help="Finished runs older than this."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Drop the weights of runs (delta, sampled tokens, checkpoints) and keep all evidence. Shows what would go."""
    from rich.text import Text

    from govern.workflow.removal.prune import find_prunable, prune

    if runs and (keep is not None or older_than is not None):
        raise UsageError("name runs or a rule, not both", where="govern runs prune")
    if no_input and not yes:
        raise UsageError(
            "nobody is there to agree, so nothing was dropped", where="govern runs prune", hint="Say so with --yes."
        )
    found = find_prunable(workspace, runs or (), keep=keep, older_than=older_than)
    if yes:
        prune(workspace, found)
    if as_json:
        print_json(
            {
                "pruned": yes,
                "runs": [{"run": entry.run.id, "bytes": entry.bytes, "dropped": entry.dropped} for entry in found],
            }
        )
        return
    table = columns("run", "files", "MiB", right=[1, 2], fold=[0])
    for entry in found:
        table.add_row(Text(entry.run.id), str(len(entry.dropped)), f"{entry.bytes / 2**20:,.1f}")
    output().print(table)
    total = f"{sum(entry.bytes for entry in found) / 2**20:,.1f} MiB of {len(found)} runs"
    say(f"{total} dropped; their evidence stays" if yes else f"{total} would go; drop them with --yes")
