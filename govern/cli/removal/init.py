"""`govern init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import print_json, say
from govern.cli.options import JsonOption, NoInputOption

NEXT = ("govern apply policies/quickstart.yaml", "govern verify")


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to work; made where it is missing.")] = Path(),
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Lay a folder with policies and templates to start from. What is there already stays as it is."""

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
    say(f"{len(laid.written)} files written to {folder}")
    if laid.kept:
        say(f"{len(laid.kept)} files were there before and stay as they are")
    say("policies/   to start from; quickstart.yaml runs on a laptop")
    say("templates/  your report: README.md says how to change it or add a section")
    say("next:")
    for command in commands:
        say(f"  {command}")
