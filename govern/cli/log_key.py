"""The two halves of a log's key: the private one that signs checkpoints, the public one that an auditor was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from govern.cli.signer import in_token, read_password, read_pin
from govern.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from govern.audit import Checkpoint, LogVerifier
    from govern.signing import LogKey

Key = TypeVar("Key")

LogKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--log-key",
        envvar="GOVERN_LOG_KEY",
        help="The private key that signs checkpoints: a file, or a token's key by its URI (pkcs11:token=…;object=…). "
        "keys/log.pem of the workspace by default.",
    ),
]
VerifierOption = Annotated[
    str | None,
    typer.Option(
        "--log-key",
        metavar="VKEY",
        help="The log's public key as you know it from elsewhere: the .vkey file, or its one line.",
    ),
]


def private_log_key(path: Path | None, workspace: Path, *, no_input: bool) -> LogKey:
    """The key that signs checkpoints, asking for its password where needed. Raises UsageError where there is none."""
    from govern.signing import load_log_key
    from govern.workflow.people.keys import log_key_path

    found = path or log_key_path(workspace)
    if in_token(found):
        from govern.signing.token import load_token_log_key, parse_token_uri

        return load_token_log_key(parse_token_uri(str(found)), read_pin(no_input=no_input))
    if not found.exists():
        raise UsageError(
            "the log has no key here to sign checkpoints with",
            where=str(found),
            hint="Make one: govern keys generate --log",
        )
    return load_log_key(found, read_password(confirm=False, no_input=no_input))


def public_log_key(told: str) -> LogVerifier:
    """The log's key from a .vkey file or from its one line. Raises UsageError."""
    from govern.audit import parse_vkey

    return parse_public(told, parse_vkey, "log")


def required_log_key(told: str | None, checked: str) -> LogVerifier:
    """The public log key that `checked` ("a proof") is checked with. Raises UsageError where none was named."""
    if told is None:
        raise UsageError(
            f"{checked} is checked with the log's public key, as you know it from elsewhere",
            where="--log-key",
            hint="Name the log.vkey that you were given.",
        )
    return public_log_key(told)


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's fields for JSON."""
    return {"origin": checkpoint.origin, "events": checkpoint.size, "root": checkpoint.root.hex()}


def parse_public(told: str, parse: Callable[[str], Key], holder: str) -> Key:
    """A public key of a "log" or a "cosigner", from a .vkey file or from its one line. Raises UsageError."""
    try:
        text = told if "+" in told and not Path(told).exists() else Path(told).read_text(encoding="utf-8")
        return parse(text.strip())
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"the {holder}'s key cannot be read", where=told, hint="Name the .vkey file.") from None
    except IntegrityError as error:
        raise UsageError(error.message, where=told, hint=f"Name the {holder}'s .vkey file.") from None
