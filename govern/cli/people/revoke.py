"""`govern revoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from govern.cli.console import tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import OwnKeyOption, own_key


def revoke(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, in your own words. They are signed as well.")],
    key: OwnKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Sign that a removal must not be relied on. It is for ever: nothing is issued or exported of the run any more."""

    from govern.workflow.people.revoke import revoke as run_revoke

    ended = run_revoke(
        run,
        reason=reason,
        workspace=workspace,
        key=own_key(key, "a revocation", workspace=workspace, no_input=no_input),
    )
    revocation = ended.act
    tell(
        {"revocation": revocation.to_json(), "folder": str(ended.path)},
        f"revoked by {revocation.person.person}, {revocation.person.role}: the removal of run {ended.run.id}\n"
        f"model      sha256:{revocation.model_after}\n"
        f"revocation {ended.path}",
        as_json=as_json,
    )
