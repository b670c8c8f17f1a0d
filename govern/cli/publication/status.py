"""`govern status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from govern.cli.console import columns, output, print_json, printable, say
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.people.review import outlook, said_by_people
from govern.cli.verdict import STYLE

if TYPE_CHECKING:
    from govern.records import SignOff, Waiver
    from govern.signing.acts import Signed
    from govern.signing.waivers import WaiverState
    from govern.workflow.publication.status import RunStatus


def status(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id, or `latest`. All runs by default.")
    ] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Show each run's verdict and report, and what waits for whom."""
    from rich.text import Text

    from govern.workflow.publication.status import status as run_status

    found = run_status(workspace, run_id=run)
    if as_json:
        print_json({"runs": [_as_json(entry) for entry in found]})
        return
    table = columns("run", "verdict", "report", "sign-off", fold=[0, 3])
    for entry in found:
        verdict = Text(entry.verdict, style=STYLE[entry.verdict]) if entry.verdict else Text("")
        table.add_row(entry.run, verdict, entry.issued[:10] if entry.issued else "", Text(printable(waits(entry))))
    output().print(table)
    for entry in found if run else ():
        for line in details(entry):
            say(f"\n{line}", wrap=True)


def details(entry: RunStatus) -> Iterator[str]:
    """All that people said over a run, and its verifications."""
    if entry.revoked:
        revocation = entry.revoked.act
        person = revocation.person
        yield f"revoked {revocation.time} by {person.person}, {person.role}\n{quoted(revocation.reason)}"
    for review in _reviews(entry):
        signoff = review.act
        yield (
            f"{signoff.decision}d {signoff.time} by {signoff.reviewer.person}, {signoff.reviewer.role}\n"
            f"{quoted(signoff.comment)}"
        )
    for waived, state in entry.waivers:
        waiver = waived.act
        yield (
            f"waived ({state}) {waiver.time} by {waiver.approver.person}, {waiver.approver.role}: {waiver.gate}, "
            f"{waiver.verdict}, until {waiver.until[:10]}\n{quoted(waiver.reason)}"
        )
    for verification in entry.verifications:
        yield (
            f"verified {verification.time[:19]}Z: {verification.verdict}, attempt {verification.attempt}, "
            f"lm-eval {verification.harness}, govern {verification.govern}"
        )
    if entry.valid_until:
        yield f"to be verified again after {entry.valid_until[:10]}"
    if entry.pruned:
        yield f"its weights were pruned on {entry.pruned}"


def quoted(words: str) -> str:
    """Somebody's own words, marked on every line, so that none of them passes for ours."""
    return "\n".join(f"  > {line}" for line in words.splitlines())


def waits(entry: RunStatus) -> str:
    """What a run waits for."""
    if entry.revoked:
        return f"REVOKED {entry.revoked.logged[:10]} by {entry.revoked.act.person.person}"
    if not entry.applied:
        return "not applied: govern apply --resume"
    if entry.standing is None:
        again = f"verified, and its report was not issued: govern report render {entry.run}"
        return again if entry.unreported else "not verified: govern verify"
    said = [outlook(entry.standing)]
    if entry.named and entry.signer is None:
        said.append("report signed by a key that nobody vouches for")
    if entry.stale:
        said.insert(0, f"STALE since {(entry.valid_until or '')[:10]}: govern verify {entry.run}")
    said += [f"{waived.act.gate} waived, {_until(waived, state)}" for waived, state in entry.waivers]
    if entry.pruned:
        said.append(f"weights pruned {entry.pruned}")
    return "; ".join(said)


def _until(waived: Signed[Waiver], state: WaiverState) -> str:
    return f"until {waived.act.until[:10]}" if state == "in force" else f"{state} ({waived.act.until[:10]})"


def _reviews(entry: RunStatus) -> tuple[Signed[SignOff], ...]:
    return (*entry.standing.rejections, *entry.standing.approvals) if entry.standing else ()


def _as_json(entry: RunStatus) -> dict[str, Any]:
    standing = entry.standing
    return {
        "run": entry.run,
        "applied": entry.applied,
        "verdict": entry.verdict,
        "issued": entry.issued,
        "signer": entry.signer,
        "required": entry.required,
        "roles": list(entry.roles),
        "state": standing.state if standing else None,
        "missing": standing.missing if standing else None,
        "waits_for": [
            {"person": person.person, "role": person.role, "fingerprint": person.fingerprint}
            for person in (standing.waits_for if standing else ())
        ],
        **said_by_people(_reviews(entry), entry.waivers, entry.revoked),
        "verifications": [verification.to_json() for verification in entry.verifications],
        "valid_until": entry.valid_until,
        "stale": entry.stale,
        "pruned": entry.pruned,
    }
