"""`govern evidence`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.log_key import LogKeyOption, VerifierOption, private_log_key, public_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
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
    from govern.cli.trust import read_public
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
    from rich.text import Text

    from govern.cli.review import outlook
    from govern.cli.verify import STYLE

    if as_json:
        print_json({**_as_json(checked, folder), **(held or {})})
        return
    claim, console = checked.claim, output()
    if checked.revoked:
        revocation = checked.revoked.act
        console.print(
            Text(
                printable(
                    f"REVOKED {checked.revoked.logged} by {revocation.person.person}: this removal must not be relied "
                    f"on. {shown(revocation.reason, 4000)}"
                ),
                style="bold red",
            ),
            soft_wrap=True,
        )
    console.print(Text.assemble("verdict ", (claim.verdict, STYLE[claim.verdict]), f"  of run {shown(claim.run)}"))
    console.print(Text(printable(f"signed  {claim.issued} by sha256:{checked.signer.fingerprint}")), soft_wrap=True)
    if checked.person:
        console.print(Text(printable(f"        the key of {checked.person}")))
    elif claim.signer.kind == "throwaway":
        console.print(Text("        a throw-away key: nobody's name stands behind it"))
    else:
        console.print(Text("        signer unknown"))
    if checked.standing:
        console.print(Text(printable(f"run     {outlook(checked.standing)}")), soft_wrap=True)
    for waived, state in checked.waivers:
        waiver = waived.act
        said = f"{waiver.gate}, by {waiver.approver.person}, until {waiver.until[:10]}: {state}"
        console.print(Text(shown(f"waived  {said}")), soft_wrap=True)
    if checked.valid_until:
        until = checked.valid_until[:10]
        console.print(
            Text(f"STALE   since {until}: ask for a new verification", style="bold yellow")
            if checked.stale
            else Text(f"holds   until {until}, then it is to be verified again")
        )
    console.print(Text(f"log     {shown(checked.checkpoint.origin)}, {checked.checkpoint.size} events"), soft_wrap=True)
    console.print(Text(f"pack    {checked.files} files, all of one piece: {folder}"), soft_wrap=True)
    if held and "delta" in held:
        console.print("delta   the file is the one that was made and signed", soft_wrap=True)
    if held and "model_signed" in held:
        signed = "and its signature holds" if held["model_signed"] else "and it is not signed"
        console.print(f"model   the folder is what the run made, {signed}", soft_wrap=True)
    if checked.trust and not checked.root_known:
        console.print(
            Text(f"names are as good as root key sha256:{checked.trust.root}: compare it, or name it with --root"),
            soft_wrap=True,
        )
    if not checked.log_known:
        console.print(Text("the log's key is the pack's own word: compare log.vkey, or name it with --log-key"))


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
        "signoffs": [{"fingerprint": review.fingerprint, **review.act.to_json()} for review in checked.reviews],
        "waivers": [
            {"fingerprint": waived.fingerprint, "state": state, **waived.act.to_json()}
            for waived, state in checked.waivers
        ],
        "revoked": {"fingerprint": checked.revoked.fingerprint, **checked.revoked.act.to_json()}
        if checked.revoked
        else None,
        "valid_until": checked.valid_until,
        "stale": checked.stale,
        "origin": checked.checkpoint.origin,
        "events": checked.checkpoint.size,
        "checkpoint_root": checked.checkpoint.root.hex(),
        "log_known": checked.log_known,
        "files": checked.files,
    }
