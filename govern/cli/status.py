"""`govern status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import output, print_json, printable
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption

if TYPE_CHECKING:
    from govern.signing.reviews import Review
    from govern.workflow.review import RunStatus


def status(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id. All runs by default.")] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Show each run's verdict and report, and what waits for whom."""
    from rich.table import Table
    from rich.text import Text

    from govern.cli.verify import STYLE
    from govern.workflow.review import status as run_status

    found = run_status(workspace, run_id=run)
    if as_json:
        print_json({"runs": [_as_json(entry) for entry in found]})
        return
    table = Table("run", "verdict", "report", "sign-off", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    table.columns[3].overflow = "fold"
    for entry in found:
        verdict = Text(entry.verdict, style=STYLE[entry.verdict]) if entry.verdict else Text("")
        table.add_row(entry.run, verdict, entry.issued[:10] if entry.issued else "", Text(printable(waits(entry))))
    output().print(table)
    for entry in found if run else ():
        for review in _reviews(entry):
            signoff = review.signoff
            output().print(
                Text(
                    printable(
                        f"\n{signoff.decision}d {signoff.time} by {signoff.reviewer.person}, {signoff.reviewer.role}\n"
                        f"{signoff.comment}"
                    )
                )
            )


def waits(entry: RunStatus) -> str:
    """What a run waits for."""
    from govern.cli.review import outlook

    if not entry.applied:
        return "not applied: govern apply --resume"
    if entry.standing is None:
        return "not verified: govern verify"
    return outlook(entry.standing)


def _reviews(entry: RunStatus) -> tuple[Review, ...]:
    return (*entry.standing.rejections, *entry.standing.approvals) if entry.standing else ()


def _as_json(entry: RunStatus) -> dict[str, Any]:
    standing = entry.standing
    return {
        "run": entry.run,
        "applied": entry.applied,
        "verdict": entry.verdict,
        "issued": entry.issued,
        "required": entry.required,
        "roles": list(entry.roles),
        "state": standing.state if standing else None,
        "missing": standing.missing if standing else None,
        "waits_for": [
            {"person": person.person, "role": person.role, "fingerprint": person.fingerprint}
            for person in (standing.waits_for if standing else ())
        ],
        "signoffs": [{"fingerprint": review.fingerprint, **review.signoff.to_json()} for review in _reviews(entry)],
    }
