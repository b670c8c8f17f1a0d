"""`govern audit checkpoint`, `witness`, `prove` and `check-proof`: what leaves the house."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import output, print_json, printable, say, tell
from govern.cli.log.cosigning import CosignersOption, cosigned_lines, moment, public_cosigners
from govern.cli.log_key import (
    LogKeyOption,
    VerifierOption,
    checkpoint_json,
    private_log_key,
    public_log_key,
    required_log_key,
)
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.shown import shown


def checkpoint(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Another place for it: a new file, better not on this machine.")
    ] = None,
    log_key: LogKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check the log, sign its head and print the signed checkpoint. Keep it where the log is not."""
    from govern.workflow.log.checkpoints import sign_head

    kept = sign_head(workspace, key=private_log_key(log_key, workspace, no_input=no_input), out=out)
    if as_json:
        print_json(
            {
                "checkpoint": str(out or kept.path),
                **checkpoint_json(kept.checkpoint),
                "note": kept.note.decode(),
            }
        )
        return
    # Byte for byte, so that it can be piped into the file that keeps it.
    sys.stdout.write(kept.note.decode())


def witness(
    file: Annotated[
        Path, typer.Argument(help="The witness's file, better on another machine. With --git, its path in there.")
    ],
    *,
    git: Annotated[
        str | None,
        typer.Option("--git", metavar="REPOSITORY", help="Keep the file in a git repository: its folder or its URL."),
    ] = None,
    log_key: VerifierOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Add the newest checkpoint to a witness's file, if the log goes on from every checkpoint in it."""
    from rich.text import Text

    from govern.workflow.log.git_witness import witness_git
    from govern.workflow.log.witness import witness as run_witness

    verifier = public_log_key(log_key) if log_key else None
    pushed = witness_git(workspace, git, file.as_posix(), verifier=verifier) if git else None
    seen = pushed.seen if pushed else run_witness(workspace, file, verifier=verifier)
    if as_json:
        print_json(
            {
                "witness": str(file),
                **({"repository": git, "commit": pushed.commit} if pushed else {}),
                **checkpoint_json(seen.newest),
                "checkpoints": seen.count,
                "added": seen.added,
            }
        )
        return
    state = "added" if seen.added else "already there"
    output().print(
        Text(f"{file}: checkpoint of {seen.newest.size} events {state}, {seen.count} in all"), soft_wrap=True
    )
    if pushed:
        say(f"commit {pushed.commit} of {git}")


def prove(
    seq: Annotated[
        int, typer.Argument(help="The event's number, as `govern audit log` shows it.", min=0, max=2**63 - 1)
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", dir_okay=False, help="Where the proof goes: a new file. The event goes beside it, as .json."
        ),
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write the proof that an event is in the log, up to the newest checkpoint, for somebody who has no log."""

    from govern.workflow.log.proofs import prove as run_prove

    proved = run_prove(workspace, seq, out)
    tell(
        {
            "proof": str(proved.proof),
            "event": str(proved.entry),
            "seq": proved.event.seq,
            "origin": proved.checkpoint.origin,
            "events": proved.checkpoint.size,
        },
        f"proof {proved.proof}\nevent {proved.entry}\n"
        f"event {proved.event.seq} of the {proved.checkpoint.size} that the checkpoint holds",
        as_json=as_json,
    )


def check_proof(
    proof: Annotated[Path, typer.Argument(dir_okay=False, help="The proof, as `govern audit prove` wrote it.")],
    *,
    event: Annotated[
        Path | None, typer.Option("--event", help="The event's exact bytes. By default the .json beside the proof.")
    ] = None,
    log_key: VerifierOption = None,
    cosigner: CosignersOption = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check that an event is in a log, with the log's public key alone: no log, no workspace, no network."""

    from govern.workflow.log.proofs import check_proof as run_check
    from govern.workflow.log.proofs import entry_path

    verifier = required_log_key(log_key, "a proof")
    proved = run_check(
        proof,
        entry=event or entry_path(proof),
        verifier=verifier,
        cosigners=public_cosigners(cosigner),
    )
    found = proved.event
    run = f" of run {shown(found.run)}" if found.run else ""
    tell(
        {
            "valid": True,
            "event": proved.event.to_json(),
            **checkpoint_json(proved.checkpoint),
            "cosigned": {vkey: moment(time) for vkey, time in proved.cosigned.items()},
        },
        printable(
            f"event {found.seq}, {found.type}{run}, is in the log\n"
            f"time   {shown(found.time)}, by the log's own clock\n"
            f"log    {shown(proved.checkpoint.origin)}, {proved.checkpoint.size} events, "
            f"root {proved.checkpoint.root.hex()}"
        )
        + cosigned_lines(proved.cosigned),
        as_json=as_json,
    )
