"""`govern status`: where every run stands, and what waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.clock import now
from govern.evidence.claims import revocation_of
from govern.evidence.history import History
from govern.evidence.trusting import Trusting
from govern.records import Revocation, VerdictValue, Verification, Waiver
from govern.signing.acts import Signed
from govern.signing.reviews import Standing
from govern.signing.waivers import REVOCATION, WaiverState
from govern.workflow.people.reports import signer_name
from govern.workflow.people.review import standing_of
from govern.workflow.people.trust import in_force
from govern.workflow.people.waive import states_of
from govern.workflow.runs import (
    LATEST,
    applied_run,
    believed,
    logged_runs,
    read_history,
    refuse_lost_log,
    stored_plan,
    verifications,
)
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. `verdict`, `issued` and `standing` are None where it has no report yet.

    `verifications` are all of the run's, the newest last; it holds until `valid_until`, None for no end, and is
    `stale` from then on. Where the newest has no report yet, it is `unreported`, and there is no verdict. `signer` is
    whose key issued the report, None where nobody says; `named` whether there is a trust document to say it. `pruned`
    is the day on which the run's weights were dropped.
    """

    run: str
    applied: bool
    verdict: VerdictValue | None
    issued: str | None
    required: int
    roles: tuple[str, ...]
    standing: Standing | None
    verifications: tuple[Verification, ...]
    valid_until: str | None
    stale: bool
    waivers: tuple[tuple[Signed[Waiver], WaiverState], ...]
    unreported: bool
    signer: str | None
    named: bool
    revoked: Signed[Revocation] | None
    pruned: str | None


def status(workspace: Path, *, run_id: str | None = None) -> list[RunStatus]:
    """Where every run stands, or the one that is named; `latest` is the latest applied one.

    Raises IntegrityError where the log, a run or a signature does not hold.
    """
    place = Workspace.existing(workspace)
    refuse_lost_log(place)
    history = read_history(place)
    if history is None:
        return []
    trusting = in_force(workspace, history)
    with Log.read(place.database) as log:
        if run_id is None:
            runs = logged_runs(place, log)
        else:
            runs = [applied_run(place, log, run_id) if run_id == LATEST else place.run(run_id)]
    return [_status(place, run, history, trusting) for run in runs]


def _status(place: Workspace, run: RunFolder, history: History, trusting: Trusting | None) -> RunStatus:
    facts, events = believed(history, run), [stored.event for stored in history.of(run.id)]
    plan = stored_plan(run) if facts.applied else None
    report = facts.report if facts.unreported is None else None
    verified = verifications(events)
    until = plan.valid_until(verified[-1].time) if plan and verified else None
    return RunStatus(
        run=run.id,
        applied=facts.applied is not None,
        verdict=report.claim.verdict if report else None,
        issued=report.claim.issued if report else None,
        required=plan.reviews_required if plan else 0,
        roles=plan.review_roles if plan else (),
        standing=standing_of(run, facts, trusting) if report else None,
        verifications=verified,
        valid_until=until,
        stale=until is not None and until <= now(),
        waivers=states_of(run, facts, trusting) if report else (),
        unreported=facts.unreported is not None,
        signer=signer_name(place.root, report.key.fingerprint, report.claim.issued, report.logged, history=history)
        if report
        else None,
        named=trusting is not None,
        revoked=revocation_of(facts.of(REVOCATION), trusting.trust if trusting else None),
        pruned=next((event.time[:10] for event in events if event.type == "run.pruned"), None),
    )
