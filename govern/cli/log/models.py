"""`govern models`."""

from __future__ import annotations

from typing import Annotated

import typer

from govern.cli.console import columns, output, print_json, say
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.shown import shown

app = typer.Typer(help="Say what the log knows of a model.", no_args_is_help=True)


@app.command("log")
def log_of_model(
    digest: Annotated[str, typer.Argument(help="The model's digest, or at least 8 characters from its beginning.")],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Show all that ever happened to a model, to those that it came from and to those that were made of it."""
    from rich.text import Text

    from govern.cli.log.audit import told
    from govern.workflow.log.models import models_log

    found = models_log(digest, workspace=workspace)
    if as_json:
        print_json(
            {
                "digest": found.digest,
                "ancestors": list(found.ancestors),
                "descendants": list(found.descendants),
                "edits": [{"run": run, "before": edit[0], "after": edit[1]} for run, edit in found.edits.items()],
                "events": [
                    {"relation": happened.relation, "leaf": happened.stored.leaf, **happened.stored.event.to_json()}
                    for happened in found.events
                ],
            }
        )
        return
    for name, models in (("from ", found.ancestors), ("model", (found.digest,)), ("into ", found.descendants)):
        for model in models:
            say(f"{name} sha256:{model}")
    say("")
    table = columns("event", "time", "what", "to", "run", right=[0], fold=[4])
    for happened in found.events:
        event = happened.stored.event
        table.add_row(
            str(event.seq), event.time[:10], Text(told(event)), happened.relation, Text(shown(event.run or ""))
        )
    output().print(table)
