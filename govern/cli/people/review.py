"""`govern review`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import OwnKeyOption, own_key
from govern.errors import UsageError

if TYPE_CHECKING:
    from govern.records import Revocation, SignOff, Waiver
    from govern.signing.acts import Signed
    from govern.signing.reviews import Standing
    from govern.signing.waivers import WaiverState


def review(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    *,
    approve: Annotated[bool, typer.Option("--approve", help="Approve the run's newest report.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it. A rejection stands for ever.")] = False,
    comment: Annotated[
        str, typer.Option("--comment", help="Your reasons, in your own words. They are signed as well.")
    ],
    key: OwnKeyOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Sign your decision over a report and over the log that it stands on."""

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
    reviewer = reviewed.act.reviewer
    tell(
        {"signoff": reviewed.act.to_json(), "folder": str(reviewed.path), "state": reviewed.standing.state},
        f"{reviewed.act.decision}d by {reviewer.person}, {reviewer.role}, over report sha256:{reviewed.act.report}",
        f"sign-off {reviewed.path}",
        f"run      {outlook(reviewed.standing)}",
        as_json=as_json,
    )


def outlook(standing: Standing) -> str:
    """Where the sign-offs stand, and whom they wait for."""
    if standing.state == "rejected":
        return f"rejected by {_named(standing.rejections)}"
    if standing.state == "failed":
        return "a gate failed"
    if standing.state == "not required":
        return "no sign-off required"
    approved = len(standing.approvals)
    if standing.state == "approved":
        return f"approved by {_named(standing.approvals)}"
    people = list(dict.fromkeys(entry.person for entry in standing.waits_for))
    named = f": {', '.join(people)}" if people else ", and nobody in trust.yaml can give it"
    return f"waits for {standing.missing} of {approved + standing.missing}{named}"


def _named(reviews: Sequence[Signed[SignOff]]) -> str:
    return ", ".join(review.act.reviewer.person for review in reviews)


def said_by_people(
    reviews: Sequence[Signed[SignOff]],
    waivers: Sequence[tuple[Signed[Waiver], WaiverState]],
    revoked: Signed[Revocation] | None,
) -> dict[str, Any]:
    """What people signed over a run, for JSON."""
    return {
        "signoffs": [{"fingerprint": review.fingerprint, **review.act.to_json()} for review in reviews],
        "waivers": [
            {"fingerprint": waived.fingerprint, "state": state, **waived.act.to_json()} for waived, state in waivers
        ],
        "revoked": {"fingerprint": revoked.fingerprint, **revoked.act.to_json()} if revoked else None,
    }
