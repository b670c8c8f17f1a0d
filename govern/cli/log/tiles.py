"""`govern audit publish`, `serve` and `follow`: the log in the open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import tell
from govern.cli.log.cosigning import QuorumOption, cosigned_lines, moment, read_quorum
from govern.cli.log_key import VerifierOption, checkpoint_json, required_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.errors import UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.workflow.log.server import Service

HostOption = Annotated[str, typer.Option("--host", help="The address to answer at. This machine alone by default.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any that is free.")]


def publish(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="The folder that is handed out.")],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write the log up to its newest checkpoint as tiles, for any web server (C2SP tlog-tiles), or add what is new."""
    from govern.workflow.log.publish import publish as run_publish

    done = run_publish(workspace, folder)
    tell(
        {"folder": str(folder), **checkpoint_json(done.checkpoint), "written": done.written},
        f"{folder}: {done.checkpoint.size} events, {done.written} files written",
        as_json=as_json,
    )


def serve(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="What `govern audit publish` wrote.")],
    *,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Hand out a published log over HTTP, until it is interrupted. Nothing is written."""
    from govern.workflow.log.follow import read_folder
    from govern.workflow.log.server import Tiles

    run(Tiles(read_folder(folder)), host, port, f"{folder} is served at", as_json=as_json)


def run(service: Service, host: str, port: int, what: str, *, as_json: bool) -> None:
    """Serve until Ctrl-C, after one line that says where."""
    import sys

    from govern.cli.console import print_error
    from govern.errors import GovernError
    from govern.workflow.log.server import Server

    def complain(error: Exception) -> None:
        print_error(error if isinstance(error, GovernError) else GovernError(f"it cannot be done: {error}"))

    with Server(service, host, port, complain) as server:
        tell({"url": server.url}, f"{what} {server.url}", as_json=as_json)
        sys.stdout.flush()
        server.serve_forever()


def follow(
    source: Annotated[str, typer.Argument(metavar="URL|FOLDER", help="Where the log's tiles are.")],
    *,
    seen: Annotated[
        Path,
        typer.Option("--seen", dir_okay=False, help="The file that keeps the newest checkpoint seen; made at first."),
    ],
    log_key: VerifierOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="DIGEST", help="Count the new events that name this model. Again for others."),
    ] = None,
    event: Annotated[
        list[Path] | None,
        typer.Option("--event", help="An event's exact bytes, which must be in the log. May be given again."),
    ] = None,
    quorum: QuorumOption = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check by its tiles that a log only grew since the last time, and say what is new. Exits with 4 if it did not."""
    from govern.workflow.log.follow import follow as run_follow

    models = [_digest(told) for told in model or ()]
    with run_follow(
        source,
        seen,
        verifier=required_log_key(log_key, "a log"),
        models=models,
        events=event or (),
        quorum=read_quorum(quorum) if quorum else None,
    ) as found:
        known = found.known.size if found.known else 0
        size = found.checkpoint.size
        lines = [
            f"{shown(found.checkpoint.origin)}: {size} events, root {found.checkpoint.root.hex()}",
            f"it goes on from the {known} events seen before: {size - known} are new"
            if known
            else "seen for the first time",
            *(f"{path} is in it" for path in event or ()),
            *(f"{count:6} {name}" for name, count in found.types.items()),
            *(["nothing new names the model"] if models and not found.types else []),
        ]
        tell(
            {
                **checkpoint_json(found.checkpoint),
                "known": known,
                "included": [str(path) for path in event or ()],
                "types": found.types,
                "cosigned": {vkey: moment(time) for vkey, time in found.cosigned.items()},
            },
            "\n".join(lines) + cosigned_lines(found.cosigned),
            as_json=as_json,
        )


def _digest(told: str) -> str:
    digest = told.removeprefix("sha256:").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"{told!r} is no digest of a model", where="--model", hint="All 64 hex characters of it.")
    return digest
