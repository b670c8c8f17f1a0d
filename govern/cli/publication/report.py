"""`govern report`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from govern.cli.console import errors, print_json, print_schema, say, tell
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    NoInputOption,
    RunArgument,
    TemplatesOption,
    WorkspaceOption,
)
from govern.cli.signer import KeyOption, print_signer, signer_json, signing_key
from govern.cli.verdict import say_verdict
from govern.reporting.exports import EXPORTS
from govern.shown import shown

if TYPE_CHECKING:
    ExportName = str
else:
    ExportName = Literal[tuple(EXPORTS)]

app = typer.Typer(help="Open a report, export it, or check one that somebody gave you.", no_args_is_help=True)

REVOKED = "REVOKED: this removal must not be relied on (see govern status)"


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
    from govern.workflow.people.reports import is_revoked
    from govern.workflow.publication.report import find_report

    path = find_report(run, workspace=workspace)
    if is_revoked(workspace, path.parent.name):
        errors().print(REVOKED, style="bold red")
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
    from govern.workflow.publication.report import reissue

    signer = signing_key(key, workspace=workspace, no_input=no_input)
    issued = reissue(run, workspace=workspace, key=signer, templates=templates)
    tell(
        {"report": str(issued.path), "sha256": issued.sha256, "throwaway_key": issued.throwaway},
        str(issued.path),
        as_json=as_json,
    )


class SchemaName(StrEnum):
    """The schemas of `govern report schema`."""

    REPORT = "report"
    VERDICT = "verdict"


@app.command("export")
def export_report(
    run: RunArgument = None,
    *,
    form: Annotated[
        ExportName,
        typer.Option(
            "--format",
            help="CycloneDX 1.7 ML-BOM, Hugging Face model card, JUnit XML, SARIF 2.1.0, our own JSON, or PDF by the "
            "Chromium on PATH or in GOVERN_CHROMIUM.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write; for a model card, the folder of the edited model.")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write what the newest report says in another format. It is not signed: the report's statement is."""
    from govern.workflow.publication.exports import reported, write_export

    found = reported(run, workspace=workspace)
    written = write_export(found, form, out)
    files = [str(path) for path in written]
    tell({"run": found.run.id, "format": form, "files": files}, *files, as_json=as_json)


@app.command("schema")
def report_schema(
    name: Annotated[
        SchemaName, typer.Argument(help="`report export --format json`, or `govern verify --json`.")
    ] = SchemaName.REPORT,
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a report's or a verdict's JSON."""
    from govern.reporting.exports.schemas import schema

    print_schema(schema(name.value), as_json=as_json)


@app.command("verify")
def verify_report(
    report: Annotated[
        Path,
        typer.Argument(
            help="A report.html or report.md, of a run or a comparison, with the files it was issued with beside it."
        ),
    ],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check a report's signature and say its verdict and its signer. Needs no log and no network."""
    from govern.workflow.people.reports import check_report, is_revoked
    from govern.workflow.publication.comparison import is_comparison

    if is_comparison(report):
        verify_comparison(report, workspace=workspace, as_json=as_json)
        return
    checked = check_report(report, workspace=workspace)
    revoked = is_revoked(workspace, checked.claim.run)
    if as_json:
        print_json(
            {
                "report": str(checked.path),
                "valid": True,
                "run": checked.claim.run,
                "verdict": checked.claim.verdict,
                **signer_json(checked.claim.signer, checked.signer),
                "issued": checked.claim.issued,
                "revoked": revoked,
                "newest": checked.newest,
            }
        )
        return
    if checked.newest is False:
        say("OLDER   the run was verified again or its report issued again since", style="bold yellow")
    if revoked:
        say(REVOKED, style="bold red")
    say_verdict(checked.claim.verdict, f"  of run {shown(checked.claim.run)}")
    print_signer(checked.claim.issued, checked.claim.signer, checked.signer, workspace)


def verify_comparison(report: Path, *, workspace: Path, as_json: bool) -> None:
    """Check a comparison of methods, and say how many files hold and who signed."""
    from govern.workflow.publication.comparison import check_comparison

    checked = check_comparison(report, workspace=workspace)
    claim = checked.claim
    if as_json:
        print_json(
            {
                "report": str(checked.path),
                "valid": True,
                "comparison": claim.sweep,
                "methods": [method.to_json() for method in claim.methods],
                "files": checked.files,
                **signer_json(claim.signer, checked.signer),
                "issued": claim.issued,
            }
        )
        return
    say(f"comparison of {len(claim.methods)} methods, {shown(claim.sweep)}")
    say(f"files   {checked.files} are the ones that were signed; nothing here is certified")
    print_signer(checked.claim.issued, checked.claim.signer, checked.signer, workspace)
