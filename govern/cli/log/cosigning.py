"""`govern audit request-cosignature`, `cosign` and `accept-cosignature`: two workspaces witness each other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import printable, tell
from govern.cli.log_key import VerifierOption, checkpoint_json, parse_public, required_log_key
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import read_password
from govern.errors import IntegrityError, UsageError
from govern.shown import shown

if TYPE_CHECKING:
    from govern.audit import Cosigner
    from govern.audit.quorum import Quorum
    from govern.signing import LogKey

COSIGNER_HELP = "A witness's public key as you know it from elsewhere: the .vkey file, or its one line."
CosignersOption = Annotated[
    list[str] | None,
    typer.Option("--cosigner", metavar="VKEY", help=f"{COSIGNER_HELP} It must have cosigned. May be given again."),
]

CosignerKeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="The key to cosign with. keys/cosigner.pem of the workspace by default."),
]
QuorumOption = Annotated[
    Path | None,
    typer.Option(
        "--quorum",
        help="A file that says which witnesses must have cosigned (C2SP tlog-policy). No policy of this program.",
    ),
]


def request_cosignature(
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the request goes: a new file, to hand to the witness.")],
    old: Annotated[int, typer.Option("--old", min=0, help="The number of events that the witness cosigned last.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Ask another log's holder to cosign the newest checkpoint (C2SP tlog-witness, as a file)."""

    from govern.workflow.log.cosigning import request_cosignature as run_request

    asked = run_request(workspace, out, old=old)
    tell(
        {"request": str(out), "origin": asked.origin, "events": asked.size, "old": old},
        f"{out}: asks to cosign {asked.size} events, grown from {old}",
        as_json=as_json,
    )


def cosign(
    request: Annotated[Path, typer.Argument(help="What `govern audit request-cosignature` wrote elsewhere.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the cosignature goes: a new file, to hand back.")],
    log_key: VerifierOption = None,
    key: CosignerKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """As a witness: check that somebody else's log only grew, record its checkpoint in this log, and cosign it."""

    from govern.workflow.log.cosigning import cosign_request

    verifier = required_log_key(log_key, "a checkpoint")
    signer = private_cosigner(key, workspace, no_input=no_input)
    done = cosign_request(workspace, request, out, verifier=verifier, key=signer)
    tell(
        {
            "cosignature": str(out),
            **checkpoint_json(done.checkpoint),
            "known": done.known,
            "cosigner": done.cosigner.vkey,
            "time": moment(done.time),
        },
        f"{out}: cosigned {done.checkpoint.size} events of {shown(done.checkpoint.origin)}, of which {done.known} were "
        f"known here\nby {done.cosigner.vkey}",
        as_json=as_json,
    )


def accept_cosignature(
    answer: Annotated[Path, typer.Argument(help="What the witness handed back.")],
    *,
    cosigner: Annotated[str, typer.Option("--cosigner", metavar="VKEY", help=COSIGNER_HELP)],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Put a witness's cosignature under the checkpoint that it is for."""

    from govern.workflow.log.cosigning import accept_cosignature as run_accept

    kept = run_accept(workspace, answer, public_cosigner(cosigner))
    tell(
        {"checkpoint": str(kept.path), "events": kept.checkpoint.size, "note": kept.note.decode()},
        f"{kept.path}: cosigned, {kept.checkpoint.size} events",
        as_json=as_json,
    )


def private_cosigner(key: Path | None, workspace: Path, *, no_input: bool) -> LogKey:
    """The key to cosign with, asking for its password where needed. Raises UsageError where there is none."""
    from govern.signing import load_log_key
    from govern.workflow.people.keys import cosigner_key_path

    path = key or cosigner_key_path(workspace)
    if not path.exists():
        raise UsageError(
            "there is no key here to cosign with",
            where=str(path),
            hint="Make one: govern keys generate --cosigner",
        )
    return load_log_key(path, read_password(confirm=False, no_input=no_input))


def public_cosigner(told: str) -> Cosigner:
    """A cosigner's key from a .vkey file or from its one line. Raises UsageError."""
    from govern.audit import parse_cosigner

    return parse_public(told, parse_cosigner, "cosigner")


def public_cosigners(told: list[str] | None) -> list[Cosigner]:
    """The cosigners that were named. Raises UsageError."""
    return [public_cosigner(vkey) for vkey in told or ()]


def read_quorum(path: Path) -> Quorum:
    """A quorum file. Raises UsageError naming the line that is wrong."""
    from govern.audit.quorum import parse_quorum
    from govern.workflow.log.checkpoints import read

    try:
        return parse_quorum(read(path))
    except IntegrityError as error:
        place = f"{path}, {error.where}" if error.where else str(path)
        raise UsageError(error.message, where=place, hint="See c2sp.org/tlog-policy.") from None


def cosigned_lines(cosigned: dict[str, int]) -> str:
    """What a reader is told of cosignatures that hold, a line each."""
    return "".join(
        printable(f"\ncosigned by {vkey.split('+')[0]} at {moment(time)}, by its own clock")
        for vkey, time in cosigned.items()
    )


def moment(seconds: int) -> str:
    """Seconds since 1970 as UTC, RFC 3339; past the year 9999 as they are."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds since 1970"
