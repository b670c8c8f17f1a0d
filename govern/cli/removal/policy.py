"""`govern policy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import print_error, print_json, print_schema, say, tell
from govern.cli.options import JsonOption, NoInputOption
from govern.errors import ExitCode, PolicyErrors

if TYPE_CHECKING:
    from govern.policy import LoadedPolicy

app = typer.Typer(help="Check policies, and print the schema that editors use.", no_args_is_help=True)


@app.command("validate")
def validate_policies(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files.")],
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check policies and the files they name. What only the model can tell, such as its layers, is for `plan`."""

    from govern.policy import load_policy

    checked: list[tuple[Path, LoadedPolicy | PolicyErrors]] = []
    for path in files:
        try:
            checked.append((path, load_policy(path)))
        except PolicyErrors as error:
            checked.append((path, error))
            print_error(error)
    valid = not any(isinstance(result, PolicyErrors) for _, result in checked)
    if as_json:
        print_json({"valid": valid, "policies": [_as_json(path, result) for path, result in checked]})
    else:
        for path, result in checked:
            if not isinstance(result, PolicyErrors):
                say(f"{path}: valid  {result.policy.name}  sha256:{result.digest}")
    if not valid:
        raise typer.Exit(ExitCode.USAGE)


@app.command("schema")
def policy_schema(*, as_json: JsonOption = False, no_input: NoInputOption = False) -> None:
    """Print the policy's JSON Schema (draft 2020-12). Editors find it by a policy's `yaml-language-server` line."""
    from govern.policy import json_schema

    print_schema(json_schema(), as_json=as_json)


@app.command("fingerprint")
def fingerprint_subjects(
    subjects: Annotated[Path, typer.Argument(help="A text file with one subject a line: a name, or a passage.")],
    *,
    salt: Annotated[Path, typer.Option("--salt", envvar="GOVERN_SALT", help="The secret salt; made where it is not.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the fingerprints go, for `request` of a policy.")],
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Make salted fingerprints of the subjects of a privacy or copyright request; the subjects stay yours."""

    from govern.workflow.removal.request import fingerprint

    made = fingerprint(subjects, salt=salt, out=out)
    kept = "made for it; keep it secret, and keep it" if made.new_salt else "as it was"
    tell(
        {"path": str(made.path), "salt": str(made.salt), "subjects": made.subjects, "new_salt": made.new_salt},
        f"{made.path}: {made.subjects} subjects\n{made.salt}: the salt, {kept}",
        as_json=as_json,
    )


def _as_json(path: Path, result: LoadedPolicy | PolicyErrors) -> dict[str, Any]:
    if isinstance(result, PolicyErrors):
        errors = [
            {"where": finding.where, "message": finding.message, "hint": finding.hint} for finding in result.findings
        ]
        return {"path": str(path), "name": None, "digest": None, "errors": errors}
    return {"path": str(path), "name": result.policy.name, "digest": result.digest, "errors": []}
