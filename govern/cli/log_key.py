"""The two halves of a log's key: the private one that signs checkpoints, the public one that an auditor was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.keys import read_password
from govern.cli.signer import in_token, read_pin
from govern.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from govern.audit import LogVerifier
    from govern.signing import LogKey

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

    try:
        text = told if "+" in told and not Path(told).exists() else Path(told).read_text(encoding="utf-8")
        return parse_vkey(text.strip())
    except (OSError, UnicodeDecodeError):
        raise UsageError("the log's key cannot be read", where=told, hint="Name the .vkey file.") from None
    except IntegrityError as error:
        raise UsageError(error.message, where=told, hint="Name the .vkey file.") from None
