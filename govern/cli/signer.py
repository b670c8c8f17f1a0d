"""Whose key signs: the one that is named, else the workspace's own, else a throw-away one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import output, printable
from govern.cli.keys import read_password
from govern.errors import UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.signing import SignerIdentity, SigningKey

PIN_VARIABLE = "GOVERN_PIN"

THROWAWAY = "signed by a throw-away key: it shows that nothing was changed since, not who signed"

KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="GOVERN_KEY",
        help="The private key to sign with: a file, or a token's key by its URI (pkcs11:token=…;object=…). By default "
        "keys/signing.pem of the workspace, and a throw-away key where there is none.",
    ),
]


def signing_key(path: Path | None, *, workspace: Path, no_input: bool) -> SigningKey | None:
    """Load the key, asking for its password where needed; None where a throw-away one has to do."""
    from govern.workflow.people.keys import signing_key_path

    own = signing_key_path(workspace)
    found = path or (own if own.exists() else None)
    return load_signer(found, no_input=no_input) if found else None


def load_signer(path: Path, *, no_input: bool) -> SigningKey:
    """A signing key from its file or its token, asking for the password or the PIN where needed."""
    from govern.signing import load_key

    if in_token(path):
        from govern.signing.token import load_token_key, parse_token_uri

        return load_token_key(parse_token_uri(str(path)), read_pin(no_input=no_input))
    return load_key(path, read_password(confirm=False, no_input=no_input))


def in_token(path: Path) -> bool:
    """Whether what was named as a key's file is a token's key."""
    return str(path).startswith("pkcs11:")


def read_pin(*, no_input: bool) -> str:
    """The token's PIN, from GOVERN_PIN or a prompt; never from an argument, which other users can see.

    Raises UsageError where there is none and nobody to ask.
    """
    if pin := os.environ.get(PIN_VARIABLE):
        return pin
    if no_input or not sys.stdin.isatty():
        raise UsageError(
            "the token's PIN is missing, and there is nobody to ask",
            where=PIN_VARIABLE,
            hint=f"Set the environment variable {PIN_VARIABLE}.",
        )
    asked: str = typer.prompt("PIN of the token", hide_input=True, err=True)
    return asked


def own_key(path: Path | None, purpose: str, *, workspace: Path, no_input: bool) -> SigningKey:
    """The key of a person who signs for themselves ("a sign-off"). Raises UsageError where there is none."""
    found = signing_key(path, workspace=workspace, no_input=no_input)
    if found is None:
        raise UsageError(
            f"{purpose} needs a key of your own", where="--key", hint="Make one with: govern keys generate"
        )
    return found


def print_signer(issued: str, signer: SignerIdentity, person: str | None, workspace: Path, *, indent: int = 8) -> None:
    """Say when and by whose key something was signed, and who holds it as far as the workspace knows."""
    from rich.text import Text

    console = output()
    console.print(Text(f"{'signed':{indent}}{shown(issued)} by sha256:{signer.fingerprint}"), soft_wrap=True)
    if signer.kind == "throwaway":
        said = "valid, with a throw-away key: unchanged since, but nobody's name stands behind it"
    elif person is None:
        said = f"valid, signer unknown: nobody pinned this key in {workspace / 'trusted'}"
    else:
        said = f"valid, signer {shown(person)}"
    console.print(Text(printable(" " * indent + said)))
