"""`govern trust`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import columns, output, print_json, printable, say
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption, parse_time
from govern.cli.signer import in_token, load_signer, read_public
from govern.errors import UsageError

if TYPE_CHECKING:
    from govern.evidence.trusting import Trusting
    from govern.records import TrustEntry
    from govern.signing import SigningKey

app = typer.Typer(help="Say whose signatures count: people, roles and their keys.", no_args_is_help=True)

RootKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--root-key", envvar="GOVERN_ROOT_KEY", help="The root key. By default keys/root.pem of the workspace."
    ),
]
TimeText = Annotated[
    str | None, typer.Option(metavar="TIME", help="A day, or a time in UTC such as 2026-11-24T10:00:00Z.")
]


@app.command("init")
def init(
    *,
    root_key: RootKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Begin the trust document, under a root key that signs nothing else."""
    from govern.workflow.people.trust import init_trust

    show(init_trust(workspace, root=load_root(root_key, workspace, no_input=no_input)), as_json=as_json)


@app.command("add")
def add(
    public_key: Annotated[Path, typer.Argument(help="The person's public key, a .pub file.")],
    *,
    person: Annotated[str, typer.Option("--person", help="Who holds the key.")],
    role: Annotated[str, typer.Option("--role", help="What this person answers for, such as safety-reviewer.")],
    since: TimeText = None,
    until: TimeText = None,
    root_key: RootKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Let a person's key sign, from now on or from --since, and until --until."""
    from govern.workflow.people.trust import add_key

    added = add_key(
        workspace,
        read_public(public_key),
        person=person,
        role=role,
        valid_from=parse_time(since),
        valid_to=parse_time(until),
        root=load_root(root_key, workspace, no_input=no_input),
    )
    show(added, as_json=as_json)


@app.command("revoke")
def revoke(
    fingerprint: Annotated[str, typer.Argument(help="The key's fingerprint, or as much of it as names one key.")],
    *,
    since: TimeText = None,
    root_key: RootKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """End a key. What it signed at --since or later, now by default, no longer counts."""
    from govern.workflow.people.trust import revoke_key

    root = load_root(root_key, workspace, no_input=no_input)
    show(revoke_key(workspace, fingerprint, root=root, since=parse_time(since)), as_json=as_json)


@app.command("rotate")
def rotate(
    old: Annotated[Path, typer.Argument(help="The key that ends: the root key or a person's.")],
    new: Annotated[Path, typer.Argument(help="The same holder's new key.")],
    *,
    root_key: RootKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Replace a key by a new one. Both sign; for a person's key, the root key does as well."""
    from govern.workflow.people.trust import in_force, rotate_key

    old_key, new_key = (load_signer(path, no_input=no_input) for path in (old, new))
    trusting = in_force(workspace)
    of_root = trusting is not None and trusting.root == old_key.public
    root = None if of_root else load_root(root_key, workspace, no_input=no_input)
    show(rotate_key(workspace, old=old_key, new=new_key, root=root), as_json=as_json)


@app.command("show")
def show_trust(
    *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False, no_input: NoInputOption = False
) -> None:
    """Check the whole series of trust documents and print the one in force."""
    from govern.workflow.people.trust import in_force

    trusting = in_force(workspace)
    if trusting is None:
        raise UsageError(
            "this workspace has no trust document", where=str(workspace), hint="Begin one: govern trust init"
        )
    show(trusting, as_json=as_json)


def show(trusting: Trusting, *, as_json: bool) -> None:
    """Print a trust document."""
    from rich.text import Text

    from govern.clock import now

    if as_json:
        print_json({"sha256": trusting.sha256, **trusting.trust.to_json()})
        return
    table = columns("person", "role", "key", "counts")
    time = now()
    for entry in trusting.trust.keys:
        style = "" if entry.holds_at(time) else "dim"
        row = (printable(entry.person), printable(entry.role), entry.fingerprint[:16], period(entry))
        table.add_row(*(Text(cell, style=style) for cell in row))
    output().print(table)
    say(f"document {trusting.trust.serial}  sha256:{trusting.sha256}")
    say(f"root key sha256:{trusting.trust.root}")


def period(entry: TrustEntry) -> str:
    """When a key's signatures count, in days."""
    until = f" to {entry.valid_to[:10]}" if entry.valid_to else ""
    revoked = f", revoked {entry.revoked_at[:10]}" if entry.revoked_at else ""
    return f"from {entry.valid_from[:10]}{until}{revoked}"


def load_root(path: Path | None, workspace: Path, *, no_input: bool) -> SigningKey:
    """The root key, asking for its password or its token's PIN where needed."""
    found = path or workspace / "keys" / "root.pem"
    if not in_token(found) and not found.exists():
        raise UsageError(
            "there is no root key",
            where=str(found),
            hint=f"Make one with: govern keys generate --out {found}",
        )
    return load_signer(found, no_input=no_input)
