"""`govern review`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import own_key
from govern.errors import UsageError

if TYPE_CHECKING:
    from govern.signing.reviews import Standing


def review(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    *,
    approve: Annotated[bool, typer.Option("--approve", help="Approve the run's newest report.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it. A rejection stands for ever.")] = False,
    comment: Annotated[
        str, typer.Option("--comment", help="Your reasons, in your own words. They are signed as well.")
    ],
    key: Annotated[
        Path | None, typer.Option("--key", envvar="GOVERN_KEY", help="Your own private key.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Sign your decision over a report and over the log that it stands on."""
    from rich.text import Text

    from govern.workflow.people.review import review as run_review

    if approve == reject:
        raise UsageError("say what you decide", where="govern review", hint="Use --approve or --reject.")
    reviewed = run_review(
        run,
        decision="approve" if approve else "reject",
        comment=comment,
        workspace=workspace,
        key=own_key(key, "a sign-off", workspace=workspace, no_input=no_input),
    )
    if as_json:
        print_json({"signoff": reviewed.act.to_json(), "folder": str(reviewed.path), "state": reviewed.standing.state})
        return
    reviewer, console = reviewed.act.reviewer, output()
    console.print(
        Text(
            printable(
                f"{reviewed.act.decision}d by {reviewer.person}, {reviewer.role}, over report "
                f"sha256:{reviewed.act.report}"
            )
        ),
        soft_wrap=True,
    )
    console.print(Text(f"sign-off {reviewed.path}"), soft_wrap=True)
    console.print(Text(f"run      {printable(outlook(reviewed.standing))}"), soft_wrap=True)


def outlook(standing: Standing) -> str:
    """Where the sign-offs stand, and whom they wait for."""
    if standing.state == "rejected":
        return f"rejected by {', '.join(review.act.reviewer.person for review in standing.rejections)}"
    if standing.state == "failed":
        return "a gate failed"
    if standing.state == "not required":
        return "no sign-off required"
    approved = len(standing.approvals)
    if standing.state == "approved":
        return f"approved by {', '.join(review.act.reviewer.person for review in standing.approvals)}"
    people = list(dict.fromkeys(entry.person for entry in standing.waits_for))
    named = f": {', '.join(people)}" if people else ", and nobody in trust.yaml can give it"
    return f"waits for {standing.missing} of {approved + standing.missing}{named}"
