"""`govern audit timestamp` and `check-timestamp`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import printable, tell
from govern.cli.log_key import VerifierOption, checkpoint_json, required_log_key
from govern.cli.options import JsonOption, NoInputOption
from govern.errors import UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.signing.timestamp import Timestamp

CheckpointArgument = Annotated[Path, typer.Argument(help="A file with one checkpoint.")]
RootOption = Annotated[
    Path | None,
    typer.Option("--tsa-root", help="The authority's root certificate (PEM), as you know it from elsewhere."),
]


def timestamp(
    checkpoint: CheckpointArgument,
    *,
    tsa: Annotated[str | None, typer.Option("--tsa", metavar="URL", help="The timestamp authority to ask.")] = None,
    tsa_root: RootOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where the timestamp goes: a new file, say X.tsr.")] = None,
    request_out: Annotated[
        Path | None, typer.Option("--request-out", help="Ask nobody: write the request, to be carried there by hand.")
    ] = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Let a timestamp authority (RFC 3161) sign that a checkpoint was there by now. Only its digest is sent."""

    from govern.workflow.log.timestamp import fetch_timestamp, request_timestamp

    if request_out is not None and (tsa, tsa_root, out) == (None, None, None):
        request_timestamp(checkpoint, request_out)
        tell({"request": str(request_out)}, f"{request_out}: a request for a timestamp", as_json=as_json)
        return
    if tsa is None or tsa_root is None or out is None or request_out is not None:
        raise UsageError(
            "say whom to ask and where the answer goes",
            where="govern audit timestamp",
            hint="Use --tsa URL --tsa-root CERTIFICATE --out FILE, or --request-out FILE alone.",
        )
    stamp = fetch_timestamp(checkpoint, out, url=tsa, roots=tsa_root)
    tell({"timestamp": str(out), **stamp_json(stamp)}, f"{out}: {said(stamp)}", as_json=as_json)


def check_timestamp(
    checkpoint: CheckpointArgument,
    response: Annotated[Path, typer.Argument(help="The authority's answer.")],
    *,
    tsa_root: RootOption = None,
    request: Annotated[
        Path | None, typer.Option("--request", help="The request that it answers, to compare the nonce as well.")
    ] = None,
    log_key: VerifierOption = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check a checkpoint and its timestamp: no log, no workspace, no network."""

    from govern.workflow.log.timestamp import check_timestamp as run_check

    verifier = required_log_key(log_key, "a timestamp")
    if tsa_root is None:
        raise UsageError(
            "a timestamp is checked with the authority's root certificate, as you know it from elsewhere",
            where="--tsa-root",
        )
    found, stamp = run_check(checkpoint, response, roots=tsa_root, verifier=verifier, request=request)
    tell(
        {
            "valid": True,
            **checkpoint_json(found),
            "nonce": request is not None,
            **stamp_json(stamp),
        },
        f"{shown(found.origin)}, {found.size} events\n{said(stamp)}",
        as_json=as_json,
    )


def stamp_json(stamp: Timestamp) -> dict[str, Any]:
    """A timestamp's fields for JSON. The serial number is text: it may be larger than a JSON number holds."""
    return {"time": moment_of(stamp), "authority": stamp.authority, "serial": str(stamp.serial)}


def said(stamp: Timestamp) -> str:
    """What a timestamp says, in a line."""
    by = f", says {stamp.authority}" if stamp.authority else ""
    return printable(f"it was there at {moment_of(stamp)}{by}")


def moment_of(stamp: Timestamp) -> str:
    """The moment, UTC, RFC 3339."""
    return stamp.time.strftime("%Y-%m-%dT%H:%M:%SZ")
