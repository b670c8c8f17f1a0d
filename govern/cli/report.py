"""`govern report`."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import errors, output, print_json
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    NoInputOption,
    RunArgument,
    TemplatesOption,
    WorkspaceOption,
)
from govern.cli.signer import KeyOption, print_signer, signing_key
from govern.shown import shown

app = typer.Typer(help="Open a report, export it, or check one that somebody gave you.", no_args_is_help=True)


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
        errors().print("REVOKED: this removal must not be relied on (see govern status)", style="bold red")
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
    if as_json:
        print_json({"report": str(issued.path), "sha256": issued.sha256, "throwaway_key": issued.throwaway})
        return
    typer.echo(str(issued.path))


class ExportFormat(StrEnum):
    """The formats of `govern report export`."""

    CYCLONEDX = "cyclonedx"
    MODEL_CARD = "model-card"
    JUNIT = "junit"
    SARIF = "sarif"
    JSON = "json"
    PDF = "pdf"


class SchemaName(StrEnum):
    """The schemas of `govern report schema`."""

    REPORT = "report"
    VERDICT = "verdict"


@app.command("export")
def export_report(
    run: RunArgument = None,
    *,
    form: Annotated[
        ExportFormat,
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
    written = write_export(found, form.value, out)
    if as_json:
        print_json({"run": found.run.id, "format": form.value, "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(str(path))


@app.command("schema")
def print_schema(
    name: Annotated[
        SchemaName, typer.Argument(help="`report export --format json`, or `govern verify --json`.")
    ] = SchemaName.REPORT,
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a report's or a verdict's JSON."""
    from govern.reporting.exports import schema

    if as_json:
        print_json({"schema": schema(name.value)})
    else:
        sys.stdout.write(json.dumps(schema(name.value), indent=2, ensure_ascii=False) + "\n")


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
    from rich.text import Text

    from govern.cli.verify import STYLE
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
                "signer": checked.signer,
                "fingerprint": checked.fingerprint,
                "throwaway_key": checked.claim.signer.kind == "throwaway",
                "issued": checked.claim.issued,
                "revoked": revoked,
                "newest": checked.newest,
            }
        )
        return
    console = output()
    if checked.newest is False:
        console.print(Text("OLDER   the run was verified again or its report issued again since", style="bold yellow"))
    console.print(
        Text.assemble(
            ("REVOKED: this removal must not be relied on (see govern status)\n" if revoked else "", "bold red"),
            "verdict ",
            (checked.claim.verdict, STYLE[checked.claim.verdict]),
            f"  of run {shown(checked.claim.run)}",
        )
    )
    print_signer(checked.claim.issued, checked.claim.signer, checked.signer, workspace)


def verify_comparison(report: Path, *, workspace: Path, as_json: bool) -> None:
    """Check a comparison of methods, and say how many files hold and who signed."""
    from rich.text import Text

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
                "signer": checked.signer,
                "fingerprint": checked.fingerprint,
                "throwaway_key": claim.signer.kind == "throwaway",
                "issued": claim.issued,
            }
        )
        return
    console = output()
    console.print(Text(f"comparison of {len(claim.methods)} methods, {shown(claim.sweep)}"), soft_wrap=True)
    console.print(Text(f"files   {checked.files} are the ones that were signed; nothing here is certified"))
    print_signer(checked.claim.issued, checked.claim.signer, checked.signer, workspace)
