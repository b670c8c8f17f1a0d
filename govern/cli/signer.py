"""Whose key signs: the one that is named, else the workspace's own, else a throw-away one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import say
from govern.errors import IntegrityError, UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.signing import PublicKey, SignerIdentity, SigningKey

PASSWORD_VARIABLE = "GOVERN_KEY_PASSWORD"  # noqa: S105  the variable's name, not a password
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
OwnKeyOption = Annotated[
    Path | None, typer.Option("--key", envvar="GOVERN_KEY", help="Your own private key.", show_default=False)
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


def read_password(*, confirm: bool, no_input: bool) -> bytes:
    """The key's password. Raises UsageError where there is none and nobody to ask."""
    return _read_secret(
        PASSWORD_VARIABLE, "the key's password", "Password of the signing key", confirm=confirm, no_input=no_input
    )


def read_pin(*, no_input: bool) -> str:
    """The token's PIN. Raises UsageError where there is none and nobody to ask."""
    return _read_secret(PIN_VARIABLE, "the token's PIN", "PIN of the token", no_input=no_input, empty=False).decode()


def _read_secret(
    variable: str, name: str, prompt: str, *, confirm: bool = False, no_input: bool, empty: bool = True
) -> bytes:
    """From the environment or a prompt; never from an argument, which other users can see."""
    secret = os.environ.get(variable)
    if secret or (secret is not None and empty):
        return os.fsencode(secret)
    if no_input or not sys.stdin.isatty():
        raise UsageError(
            f"{name} is missing, and there is nobody to ask",
            where=variable,
            hint=f"Set the environment variable {variable}.",
        )
    asked: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
    return asked.encode()


def own_key(path: Path | None, purpose: str, *, workspace: Path, no_input: bool) -> SigningKey:
    """The key of a person who signs for themselves ("a sign-off"). Raises UsageError where there is none."""
    found = signing_key(path, workspace=workspace, no_input=no_input)
    if found is None:
        raise UsageError(
            f"{purpose} needs a key of your own", where="--key", hint="Make one with: govern keys generate"
        )
    return found


def read_public(path: Path) -> PublicKey:
    """A public key that somebody handed over. Raises UsageError."""
    from govern.signing import load_public

    try:
        return load_public(path.read_bytes())
    except OSError as error:
        raise UsageError(f"the public key cannot be read: {error.strerror}", where=str(path)) from None
    except IntegrityError as error:
        raise UsageError(error.message, where=str(path), hint="Ask the holder for the .pub file.") from None


def signer_json(signer: SignerIdentity, person: str | None) -> dict[str, Any]:
    """Who signed, for JSON."""
    return {"signer": person, "fingerprint": signer.fingerprint, "throwaway_key": signer.kind == "throwaway"}


def print_signer(issued: str, signer: SignerIdentity, person: str | None, workspace: Path, *, indent: int = 8) -> None:
    """Say when and by whose key something was signed, and who holds it as far as the workspace knows."""
    say(f"{'signed':{indent}}{shown(issued)} by sha256:{signer.fingerprint}")
    if signer.kind == "throwaway":
        said = "valid, with a throw-away key: unchanged since, but nobody's name stands behind it"
    elif person is None:
        said = f"valid, signer unknown: nobody pinned this key in {workspace / 'trusted'}"
    else:
        said = f"valid, signer {shown(person)}"
    say(" " * indent + said, wrap=True)
