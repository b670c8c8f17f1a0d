"""`govern init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import output, print_json
from govern.cli.options import JsonOption, NoInputOption

NEXT = ("govern apply policies/quickstart.yaml", "govern verify")


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to work; made where it is missing.")] = Path(),
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Lay a folder with policies and templates to start from. What is there already stays as it is."""
    from rich.text import Text

    from govern.workflow.removal.init import init as lay

    laid = lay(folder)
    commands = NEXT if folder.resolve() == Path.cwd() else (f"cd {shlex.quote(str(folder))} && {NEXT[0]}", NEXT[1])
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "written": [str(path) for path in laid.written],
                "kept": [str(path) for path in laid.kept],
                "next": list(commands),
            }
        )
        return
    console = output()
    console.print(Text(f"{len(laid.written)} files written to {folder}"), soft_wrap=True)
    if laid.kept:
        console.print(Text(f"{len(laid.kept)} files were there before and stay as they are"))
    console.print(Text("policies/   to start from; quickstart.yaml runs on a laptop"))
    console.print(Text("templates/  your report: README.md says how to change it or add a section"))
    console.print(Text("next:"))
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)
