"""`govern report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    NoInputOption,
    RunArgument,
    TemplatesOption,
    WorkspaceOption,
)
from govern.cli.signer import KeyOption, signing_key

app = typer.Typer(help="Open a report, or check one that somebody gave you.", no_args_is_help=True)


@app.command("open")
def open_report(
    run: RunArgument = None,
    *,
    print_path: Annotated[bool, typer.Option("--print", help="Print the path instead of opening it.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Open the newest report in the browser."""
    from govern.workflow.report import find_report

    path = find_report(run, workspace=workspace)
    if as_json:
        print_json({"report": str(path)})
        return
    typer.echo(str(path))
    if not (print_path or no_input):
        typer.launch(path.absolute().as_uri())


@app.command("render")
def render_report(
    run: RunArgument = None,
    *,
    key: KeyOption = None,
    templates: TemplatesOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Issue the report of the newest verification again, with another key or other templates, measuring nothing."""
    from govern.workflow.report import reissue

    signer = signing_key(key, workspace=workspace, no_input=no_input)
    issued = reissue(run, workspace=workspace, key=signer, templates=templates)
    if as_json:
        print_json({"report": str(issued.path), "sha256": issued.sha256, "throwaway_key": issued.throwaway})
        return
    typer.echo(str(issued.path))


@app.command("verify")
def verify_report(
    report: Annotated[
        Path, typer.Argument(help="A report.html or report.md, with the files it was issued with beside it.")
    ],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check a report's signature and say its verdict and its signer. Needs no log and no network."""
    from rich.text import Text

    from govern.cli.verify import STYLE
    from govern.workflow.report import check_report

    checked = check_report(report, workspace=workspace)
    if as_json:
        print_json(
            {
                "report": str(checked.path),
                "valid": True,
                "run": checked.claim.run,
                "verdict": checked.claim.verdict,
                "signer": checked.signer,
                "fingerprint": checked.fingerprint,
                "throwaway_key": checked.claim.signer.kind == "throwaway",
                "issued": checked.claim.issued,
            }
        )
        return
    console = output()
    console.print(
        Text.assemble(
            "verdict ",
            (checked.claim.verdict, STYLE[checked.claim.verdict]),
            printable(f"  of run {checked.claim.run}"),
        )
    )
    console.print(Text(printable(f"signed  {checked.claim.issued} by sha256:{checked.fingerprint}")), soft_wrap=True)
    if checked.claim.signer.kind == "throwaway":
        console.print(Text("        valid, with a throw-away key: unchanged since, but nobody's name stands behind it"))
    elif checked.signer is None:
        console.print(Text(f"        valid, signer unknown: nobody pinned this key in {workspace / 'trusted'}"))
    else:
        console.print(Text(f"        valid, signer {checked.signer}"))
