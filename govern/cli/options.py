"""The options that commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from govern.errors import UsageError

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


def check_policy(policy: Path | None, command: str, *, resume: bool = False) -> None:
    """Refuse a policy that is missing or invalid at once, before the seconds that the model libraries take to load.

    Raises UsageError, or PolicyErrors.
    """
    from govern.policy import load_policy

    if policy is not None:
        load_policy(policy)
    elif not resume:
        raise UsageError(f"there is no policy to {command}", hint=f"Name one: govern {command} POLICY")


def parse_time(text: str | None) -> str | None:
    """A day (its first second) or a time, as UTC. Raises UsageError."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day and no time", hint="Write 2026-11-24 or 2026-11-24T10:00:00Z.") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
