"""`govern audit serve-witness` and `collect-cosignatures`: witnesses over HTTP, from both sides."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import tell
from govern.cli.log.cosigning import CosignerKeyOption, moment, private_cosigner, read_quorum
from govern.cli.log.tiles import HostOption, PortOption, run
from govern.cli.log_key import checkpoint_json, public_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.errors import ExitCode
from govern.shown import shown


def serve_witness(
    *,
    log_key: Annotated[
        list[str],
        typer.Option(
            "--log-key", metavar="VKEY", help="The public key of a log to cosign, as you know it. Again for others."
        ),
    ],
    key: CosignerKeyOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Cosign other logs' checkpoints over HTTP (C2SP tlog-witness), until it is interrupted."""
    from govern.workflow.log.witness_service import WitnessService

    verifiers = [public_log_key(told) for told in log_key]
    signer = private_cosigner(key, workspace, no_input=no_input)
    with closing(WitnessService(workspace, signer, verifiers)) as service:
        run(service, host, port, f"{service.cosigner.vkey} cosigns at", as_json=as_json)


def collect_cosignatures(
    *,
    quorum: Annotated[
        Path, typer.Option("--quorum", help="A file with the witnesses and their addresses (C2SP tlog-policy).")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Ask each witness of a quorum file to cosign the newest checkpoint. Exits with 1 where too few did."""
    from govern.workflow.log.collect import collect

    done = collect(workspace, read_quorum(quorum))
    checkpoint = done.kept.checkpoint
    tell(
        {
            "checkpoint": str(done.kept.path),
            **checkpoint_json(checkpoint),
            "cosigned": {shown(name): moment(time) for name, time in done.cosigned.items()},
            "problems": {shown(name): problem for name, problem in done.problems.items()},
            "met": done.met,
        },
        *(f"{shown(name)}: cosigned at {moment(time)}, by its own clock" for name, time in done.cosigned.items()),
        *(f"{shown(name)}: {problem}" for name, problem in done.problems.items()),
        f"{done.kept.path}: {checkpoint.size} events, {'enough' if done.met else 'too few'} witnesses",
        as_json=as_json,
    )
    if not done.met:
        raise typer.Exit(ExitCode.ERROR)
