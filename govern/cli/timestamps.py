"""`govern audit timestamp` and `check-timestamp`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.log_key import VerifierOption, public_log_key
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
    from rich.text import Text

    from govern.workflow.log.timestamp import fetch_timestamp, request_timestamp

    if request_out is not None and (tsa, tsa_root, out) == (None, None, None):
        request_timestamp(checkpoint, request_out)
        if as_json:
            print_json({"request": str(request_out)})
        else:
            output().print(Text(f"{request_out}: a request for a timestamp"), soft_wrap=True)
        return
    if tsa is None or tsa_root is None or out is None or request_out is not None:
        raise UsageError(
            "say whom to ask and where the answer goes",
            where="govern audit timestamp",
            hint="Use --tsa URL --tsa-root CERTIFICATE --out FILE, or --request-out FILE alone.",
        )
    stamp = fetch_timestamp(checkpoint, out, url=tsa, roots=tsa_root)
    if as_json:
        print_json({"timestamp": str(out), **stamp_json(stamp)})
        return
    output().print(Text(f"{out}: {said(stamp)}"), soft_wrap=True)


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
    from rich.text import Text

    from govern.workflow.log.timestamp import check_timestamp as run_check

    if tsa_root is None or log_key is None:
        raise UsageError(
            "a timestamp is checked with two keys that you know from elsewhere",
            where="--log-key" if log_key is None else "--tsa-root",
            hint="Name the log.vkey that you were given, and the authority's root certificate.",
        )
    found, stamp = run_check(checkpoint, response, roots=tsa_root, verifier=public_log_key(log_key), request=request)
    if as_json:
        print_json(
            {
                "valid": True,
                "origin": found.origin,
                "events": found.size,
                "root": found.root.hex(),
                "nonce": request is not None,
                **stamp_json(stamp),
            }
        )
        return
    output().print(Text(printable(f"{shown(found.origin)}, {found.size} events\n{said(stamp)}")), soft_wrap=True)


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
