"""Whose key signs: the one that is named, else the workspace's own, else a throw-away one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.keys import read_password
from govern.errors import UsageError

if TYPE_CHECKING:
    from govern.signing import SigningKey

KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="GOVERN_KEY",
        help="The private key to sign with. By default keys/signing.pem of the workspace, and a throw-away key where "
        "there is none.",
    ),
]


def signing_key(path: Path | None, *, workspace: Path, no_input: bool) -> SigningKey | None:
    """Load the key, asking for its password where needed; None where a throw-away one has to do."""
    from govern.signing import load_key
    from govern.workflow.keys import signing_key_path

    own = signing_key_path(workspace)
    found = path or (own if own.exists() else None)
    return load_key(found, read_password(confirm=False, no_input=no_input)) if found else None


def own_key(path: Path | None, purpose: str, *, workspace: Path, no_input: bool) -> SigningKey:
    """The key of a person who signs for themselves ("a sign-off"). Raises UsageError where there is none."""
    found = signing_key(path, workspace=workspace, no_input=no_input)
    if found is None:
        raise UsageError(
            f"{purpose} needs a key of your own", where="--key", hint="Make one with: govern keys generate"
        )
    return found
