"""`govern status`: where every run stands, and what waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.clock import now
from govern.records import Revocation, VerdictValue, Verification, Waiver
from govern.signing.acts import Signed
from govern.signing.reviews import Standing
from govern.signing.waivers import WAIVER, WaiverState
from govern.workflow.people.review import report_of, standing_of
from govern.workflow.people.revoke import read_revocation
from govern.workflow.people.signed import read_acts
from govern.workflow.people.waive import states_of
from govern.workflow.runs import (
    LATEST,
    applied_run,
    check_artefacts,
    events_of,
    logged_runs,
    refuse_lost_log,
    stored_plan,
    verifications,
)
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. `verdict`, `issued` and `standing` are None where it has no report yet.

    `verifications` are all of the run's, the newest last; it holds until `valid_until`, None for no end, and is
    `stale` from then on. `pruned` is the day on which the run's weights were dropped.
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
    revoked: Signed[Revocation] | None
    pruned: str | None


def status(workspace: Path, *, run_id: str | None = None) -> list[RunStatus]:
    """Where every run stands, or the one that is named; `latest` is the latest applied one.

    Raises IntegrityError where the log, a run or a signature does not hold.
    """
    place = Workspace.open(workspace)
    refuse_lost_log(place)
    if isinstance(place.database, Path) and not place.database.exists():
        return []
    with Log.read(place.database) as log:
        log.verify()
        if run_id is None:
            runs = logged_runs(place, log)
        else:
            runs = [applied_run(place, log, run_id) if run_id == LATEST else place.run(run_id)]
        return [_status(log, run, workspace) for run in runs]


def _status(log: Log, run: RunFolder, workspace: Path) -> RunStatus:
    events = events_of(log, run)
    check_artefacts(run, events)
    applied = any(event.type == "apply.finished" for event in events)
    plan = stored_plan(run) if applied else None
    checked = report_of(run, workspace) if any(event.type == "report.issued" for event in events) else None
    verified = verifications(events)
    until = plan.valid_until(verified[-1].time) if plan and verified else None
    return RunStatus(
        run=run.id,
        applied=applied,
        verdict=checked.claim.verdict if checked else None,
        issued=checked.claim.issued if checked else None,
        required=plan.reviews_required if plan else 0,
        roles=plan.review_roles if plan else (),
        standing=standing_of(log, run, checked, workspace) if checked else None,
        verifications=verified,
        valid_until=until,
        stale=until is not None and until <= now(),
        waivers=states_of(read_acts(log, run, WAIVER), run, checked, workspace) if checked else (),
        revoked=read_revocation(log, run),
        pruned=next((event.time[:10] for event in events if event.type == "run.pruned"), None),
    )
