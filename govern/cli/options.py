"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="GOVERN_WORKSPACE", help="The folder with the audit log and the runs."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; everything else on stderr.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Never ask; fail with a hint instead.")]
MirrorOption = Annotated[
    Path | None,
    typer.Option(
        "--mirror", envvar="GOVERN_MIRROR", help="A folder with the official data sets, for machines without internet."
    ),
]
SaltOption = Annotated[
    Path | None,
    typer.Option("--salt", envvar="GOVERN_SALT", help="The salt of a request's fingerprints: a secret file of yours."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda. The first GPU by default, where there is one.")
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run's id. The latest applied run by default, which is also called `latest`.",
    ),
]

TemplatesOption = Annotated[
    Path | None,
    typer.Option(
        "--templates", envvar="GOVERN_TEMPLATES", help="Your own report templates, used before the shipped ones."
    ),
]

DEFAULT_WORKSPACE = Path("audits")
