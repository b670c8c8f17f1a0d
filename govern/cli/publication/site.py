"""`govern site`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import print_json, say, tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, TemplatesOption, WorkspaceOption
from govern.cli.signer import THROWAWAY, KeyOption, print_signer, signer_json, signing_key
from govern.shown import shown


def site(
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The site's folder: a new one, or the one of an older site.")
    ] = Path("site"),
    check: Annotated[
        Path | None, typer.Option("--check", help="Write nothing; check the site in this folder. Needs no log.")
    ] = None,
    key: KeyOption = None,
    templates: TemplatesOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write a signed, static index of all runs, or check one: filters, reports, sign-offs, comparisons."""
    from govern.workflow.publication.site import check_site, publish_site

    if check is None:
        signer = signing_key(key, workspace=workspace, no_input=no_input)
        published = publish_site(out, workspace=workspace, key=signer, templates=templates)
        tell(
            {
                "folder": str(published.path),
                "runs": published.runs,
                "files": published.files,
                "fingerprint": published.signer,
                "throwaway_key": published.throwaway,
            },
            f"site   {published.path}/index.html  {published.runs} runs",
            as_json=as_json,
        )
        if published.throwaway and not as_json:
            say(THROWAWAY, wrap=True)
        return
    checked = check_site(check, workspace=workspace)
    claim = checked.claim
    if as_json:
        print_json(
            {
                "folder": str(checked.path),
                "valid": True,
                "runs": [run.to_json() for run in claim.runs],
                "issued": claim.issued,
                "origin": claim.audit.origin,
                "event": claim.audit.seq,
                **signer_json(claim.signer, checked.signer),
                "files": checked.files,
            }
        )
        return
    say(f"site   {len(claim.runs)} runs, {checked.files} files, none changed: {check}")
    say(f"log    {shown(claim.audit.origin)}, up to event {claim.audit.seq}")
    print_signer(claim.issued, claim.signer, checked.signer, workspace, indent=7)
