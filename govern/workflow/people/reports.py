"""Checking a report without trusting who issued it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.errors import UsageError
from govern.signing import ReportPredicate, load_trusted, report_predicate
from govern.signing.page import check_page, refuse_changed
from govern.workflow.people.trust import in_force
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class CheckedReport:
    """What a report's signature says. `signer` is the name of a pinned key, None where nobody pinned it."""

    path: Path
    claim: ReportPredicate
    signer: str | None
    fingerprint: str


def unverified(run: RunFolder) -> UsageError:
    """What to say of a run without a report."""
    return UsageError(
        f"run {run.id} was never verified, so it has no report",
        where=str(run.root),
        hint=f"Verify it: govern verify {run.id}",
    )


def check_report(report: Path, *, workspace: Path) -> CheckedReport:
    """Check a report against the signed statement beside it. Needs no log and no network.

    Raises IntegrityError where the report, the statement, the bundle or the key were changed.
    """
    if not report.is_file():
        raise UsageError("there is no such report", where=str(report), hint="Name the report.html of a run.")
    checked = check_page(report, report_predicate)
    refuse_changed(report, report.name, checked.subjects[report.name])
    return CheckedReport(
        path=report,
        claim=checked.claim,
        signer=signer_name(workspace, checked.key.fingerprint, checked.claim.issued),
        fingerprint=checked.key.fingerprint,
    )


def is_revoked(workspace: Path, run_id: str) -> bool | None:
    """Whether the removal that a report speaks of was revoked, as far as the workspace knows; None where it has no log.

    A report says nothing of it itself: it is fixed for ever.
    """
    place = Workspace(workspace)
    if isinstance(place.database, Path) and not place.database.exists():
        return None
    with Log.read(place.database) as log:
        events = list(log.events(run=run_id))
    return any(stored.event.type == "removal.revoked" for stored in events) if events else None


def signer_name(workspace: Path, fingerprint: str, time: str) -> str | None:
    """Who held a key at `time`, by the workspace's trust document or else its pinned keys; None where nobody says."""
    trusting = in_force(workspace)
    entry = trusting.trust.entry(fingerprint) if trusting else None
    if entry is not None:
        return entry.person if entry.holds_at(time) else None
    return load_trusted(workspace / "trusted").name_of(fingerprint)
