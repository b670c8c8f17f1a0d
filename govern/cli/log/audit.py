"""`govern audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import columns, output, print_json, say, tell
from govern.cli.log import checkpoints, cosigning, tiles, timestamps, witnesses
from govern.cli.log.cosigning import (
    CosignersOption,
    QuorumOption,
    cosigned_lines,
    moment,
    public_cosigners,
    read_quorum,
)
from govern.cli.log_key import VerifierOption, public_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.errors import ExitCode, UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.audit import Head
    from govern.records import Event

app = typer.Typer(help="Read the audit log, check it, and show it to others.", no_args_is_help=True)

AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", help="A checkpoint, or a witness's file, that was kept where the log is not."),
]


@app.command("log")
def show_log(
    *,
    run: Annotated[str | None, typer.Option("--run", help="Only this run's events.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Print the events, oldest first."""
    from rich.text import Text

    from govern.workflow.publication.audit import read_log

    stored = read_log(workspace, run=run)
    if as_json:
        print_json({"events": [{"leaf": entry.leaf, **entry.event.to_json()} for entry in stored]})
        return
    table = columns("seq", "time (UTC)", "event", "run", right=[0], fold=[3])
    for entry in stored:
        event = entry.event
        table.add_row(
            str(event.seq), event.time[:19].replace("T", " "), Text(told(event)), Text(shown(event.run or ""))
        )
    output().print(table)


def told(event: Event) -> str:
    """An event's type, and what it came to: a verdict, a decision, a result, a change, or why it failed."""
    outcomes = (event.parameters.get(name) for name in ("verdict", "decision", "result", "change", "error"))
    return shown(f"{event.type} {next(filter(None, outcomes), '')}").strip()


@app.command("verify")
def verify_log(
    *,
    against: AgainstOption = None,
    log_key: VerifierOption = None,
    cosigner: CosignersOption = None,
    quorum: QuorumOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check the log's chain, every artefact of every run against it, and every report's signature.

    With --against, also that nothing was cut off or rewritten since that checkpoint was signed.
    """

    from govern.workflow.publication.audit import audit

    if against is None and (log_key or cosigner or quorum):
        name = "--log-key" if log_key else "--cosigner" if cosigner else "--quorum"
        raise UsageError("this is for checking a checkpoint", where=name, hint="Name one: --against FILE")
    audited = audit(
        workspace,
        against=against,
        verifier=public_log_key(log_key) if log_key else None,
        cosigners=public_cosigners(cosigner),
        quorum=read_quorum(quorum) if quorum else None,
    )
    since = f"\nit goes on from the checkpoint of {audited.against.size} events" if audited.against else ""
    tell(
        {
            "valid": True,
            **_head(audited.head),
            "leaf": audited.head.leaf,
            "runs": audited.runs,
            "artefacts": audited.artefacts,
            "reports": audited.reports,
            "reviews": audited.reviews,
            "checkpoints": audited.checkpoints,
            "against": audited.against.size if audited.against else None,
            "cosigned": {vkey: moment(time) for vkey, time in audited.cosigned.items()},
        },
        f"the log holds: {audited.head.size} events, {audited.runs} runs, {audited.artefacts} artefacts, "
        f"{audited.reports} reports, {audited.reviews} sign-offs, {audited.checkpoints} checkpoints{since}"
        f"{cosigned_lines(audited.cosigned)}\n"
        f"head sha256:{audited.head.leaf}",
        as_json=as_json,
    )


@app.command("fsck")
def fsck_log(
    *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False, no_input: NoInputOption = False
) -> None:
    """List everything that is wrong with the log's file, its events and its checkpoints, for who has to repair it."""

    from govern.workflow.publication.audit import find_damage

    damage = find_damage(workspace)
    if as_json:
        print_json({"damage": [{"where": found.where, "what": found.what} for found in damage]})
    else:
        for found in damage:
            say(f"{found.where}: {found.what}")
        if not damage:
            say("no damage")
    if damage:
        raise typer.Exit(ExitCode.INTEGRITY)


@app.command("repair")
def repair(
    *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False, no_input: NoInputOption = False
) -> None:
    """Complete what a killed command logged and left half done. Only what the log binds is put in place."""
    from rich.text import Text

    from govern.workflow.publication.audit import repair as run_repair

    done = run_repair(workspace)
    if as_json:
        print_json({"repaired": done})
        return
    for said in done or ["nothing to repair"]:
        output().print(Text(said), soft_wrap=True)


@app.command("export")
def export_events(
    *,
    out: Annotated[Path, typer.Option("--out", help="A new file, or - for stdout.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check the log and write every event's exact bytes as JSON Lines, to be checked again without the database."""

    from govern.workflow.log.export import export_log, stream_log

    if str(out) == "-":
        if as_json:
            raise UsageError("stdout cannot hold both", where="--json", hint="Name a file with --out.")
        stream_log(workspace, sys.stdout.buffer)
        return
    head = export_log(workspace, out)
    tell(
        {"export": str(out), **_head(head)},
        f"{out}: {head.size} events\nroot {head.root}",
        as_json=as_json,
    )


@app.command("check-export")
def check_exported(
    file: Annotated[Path, typer.Argument(help="What `govern audit export` wrote.")],
    *,
    against: AgainstOption = None,
    log_key: VerifierOption = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Recompute an exported log: no database, no workspace, no network."""

    from govern.workflow.log.export import check_export

    checked = check_export(file, against=against, verifier=public_log_key(log_key) if log_key else None)
    head, named = checked.head, checked.against
    since = f"\nit goes on from the checkpoint of {named.size} events" if named else ""
    tell(
        {
            "valid": True,
            **_head(head),
            "leaf": head.leaf,
            "against": named.size if named else None,
        },
        f"the log holds: {head.size} events{since}\nroot {head.root}",
        as_json=as_json,
    )


@app.command("move")
def move_to_postgres(
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://USER@HOST/DATABASE, without a password.")],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Move the log into a PostgreSQL database, byte for byte; a password is libpq's, by PGPASSFILE or PGPASSWORD."""

    from govern.workflow.log.move import move

    moved = move(workspace, url)
    tell(
        {"url": moved.url, **_head(moved.head)},
        f"{moved.url}: {moved.head.size} events\nroot {moved.head.root}",
        as_json=as_json,
    )


def _head(head: Head) -> dict[str, Any]:
    return {"origin": head.origin, "events": head.size, "root": head.root}


app.command("checkpoint")(checkpoints.checkpoint)
app.command("witness")(checkpoints.witness)
app.command("request-cosignature")(cosigning.request_cosignature)
app.command("cosign")(cosigning.cosign)
app.command("accept-cosignature")(cosigning.accept_cosignature)
app.command("collect-cosignatures")(witnesses.collect_cosignatures)
app.command("serve-witness")(witnesses.serve_witness)
app.command("publish")(tiles.publish)
app.command("serve")(tiles.serve)
app.command("follow")(tiles.follow)
app.command("timestamp")(timestamps.timestamp)
app.command("check-timestamp")(timestamps.check_timestamp)
app.command("prove")(checkpoints.prove)
app.command("check-proof")(checkpoints.check_proof)
