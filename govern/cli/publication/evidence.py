"""`govern evidence`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import print_json, say
from govern.cli.log_key import LogKeyOption, VerifierOption, private_log_key, public_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.people.review import outlook, said_by_people
from govern.cli.signer import read_public
from govern.cli.verdict import say_verdict
from govern.shown import shown

if TYPE_CHECKING:
    from govern.evidence import CheckedPack

app = typer.Typer(help="Pack what a reviewer needs, or check a pack that somebody gave you.", no_args_is_help=True)


@app.command("pack")
def pack_evidence(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    folder: Annotated[Path, typer.Argument(help="Where the pack goes: a folder that does not exist yet.")],
    *,
    log_key: LogKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write a run's report, signatures, sign-offs and proofs to a folder that can be checked on its own."""
    from govern.workflow.publication.evidence import pack

    key = private_log_key(log_key, workspace, no_input=no_input)
    packed = pack(run, folder, workspace=workspace, log_key=key)
    show(packed.checked, packed.path, as_json=as_json)


@app.command("verify")
def verify_evidence(
    folder: Annotated[Path, typer.Argument(help="The folder that holds VERIFY.md.")],
    *,
    root: Annotated[
        Path | None, typer.Option("--root", help="The organisation's root key (.pub), as you know it from elsewhere.")
    ] = None,
    log_key: VerifierOption = None,
    delta: Annotated[
        Path | None, typer.Option("--delta", help="The run's delta.safetensors, where you have it: is it the one?")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="The edited model's folder, where you have it: is it the one?")
    ] = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Check every file of a pack against the others. Needs no log, no workspace and no network."""
    from govern.clock import now
    from govern.evidence import check_delta, check_model, verify_pack

    checked = verify_pack(
        folder,
        now=now(),
        root=read_public(root) if root else None,
        log_key=public_log_key(log_key) if log_key else None,
    )
    held: dict[str, bool] = {}
    if delta:
        check_delta(checked, delta)
        held["delta"] = True
    if model:
        held["model_signed"] = check_model(checked, model)
    show(checked, folder, held=held, as_json=as_json)


def show(checked: CheckedPack, folder: Path, *, held: Mapping[str, bool] | None = None, as_json: bool) -> None:
    """Print what a pack shows, what was held against it, and what it leaves to the reader."""
    if as_json:
        print_json({**_as_json(checked, folder), **(held or {})})
        return
    claim = checked.claim
    if checked.revoked:
        revocation = checked.revoked.act
        say(
            f"REVOKED {checked.revoked.logged} by {revocation.person.person}: this removal must not be relied on. "
            f"{shown(revocation.reason, 4000)}",
            style="bold red",
        )
    say_verdict(claim.verdict, f"  of run {shown(claim.run)}")
    say(f"signed  {claim.issued} by sha256:{checked.signer.fingerprint}")
    if checked.person:
        say(f"        the key of {checked.person}")
    elif claim.signer.kind == "throwaway":
        say("        a throw-away key: nobody's name stands behind it")
    else:
        say("        signer unknown")
    if checked.standing:
        say(f"run     {outlook(checked.standing)}")
    for waived, state in checked.waivers:
        waiver = waived.act
        said = f"{waiver.gate}, by {waiver.approver.person}, until {waiver.until[:10]}: {state}"
        say(shown(f"waived  {said}"))
    if checked.valid_until:
        until = checked.valid_until[:10]
        if checked.stale:
            say(f"STALE   since {until}: ask for a new verification", style="bold yellow")
        else:
            say(f"holds   until {until}, then it is to be verified again")
    say(f"log     {shown(checked.checkpoint.origin)}, {checked.checkpoint.size} events")
    say(f"pack    {checked.files} files, all of one piece: {folder}")
    if held and "delta" in held:
        say("delta   the file is the one that was made and signed")
    if held and "model_signed" in held:
        signed = "and its signature holds" if held["model_signed"] else "and it is not signed"
        say(f"model   the folder is what the run made, {signed}")
    if checked.trust and not checked.root_known:
        say(f"names are as good as root key sha256:{checked.trust.root}: compare it, or name it with --root")
    if not checked.log_known:
        say("the log's key is the pack's own word: compare log.vkey, or name it with --log-key", wrap=True)


def _as_json(checked: CheckedPack, folder: Path) -> dict[str, Any]:
    standing = checked.standing
    return {
        "folder": str(folder),
        "valid": True,
        "run": checked.claim.run,
        "verdict": checked.claim.verdict,
        "fingerprint": checked.signer.fingerprint,
        "signer": checked.person,
        "throwaway_key": checked.claim.signer.kind == "throwaway",
        "root": checked.trust.root if checked.trust else None,
        "root_known": checked.root_known,
        "state": standing.state if standing else None,
        **said_by_people(checked.reviews, checked.waivers, checked.revoked),
        "valid_until": checked.valid_until,
        "stale": checked.stale,
        "origin": checked.checkpoint.origin,
        "events": checked.checkpoint.size,
        "checkpoint_root": checked.checkpoint.root.hex(),
        "log_known": checked.log_known,
        "files": checked.files,
    }
