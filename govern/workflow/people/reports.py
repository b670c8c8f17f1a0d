"""Checking a report without trusting who issued it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from govern.audit import Stored
from govern.errors import IntegrityError, UsageError, at
from govern.evidence.history import History
from govern.signing import ReportPredicate, load_trusted, report_predicate
from govern.signing.page import CheckedPage, check_page, refuse_changed
from govern.workflow.people.trust import in_force
from govern.workflow.runs import believed, read_history
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class CheckedReport:
    """What a report's signature says. `signer` is the name of a pinned key, None where nobody pinned it.

    `newest` says whether it is its run's newest, as far as the workspace's log knows; None where that knows nothing.
    """

    path: Path
    claim: ReportPredicate
    signer: str | None
    fingerprint: str
    newest: bool | None = None


def unverified(run: RunFolder) -> UsageError:
    """What to say of a run without a report."""
    return UsageError(
        f"run {run.id} was never verified, so it has no report",
        where=str(run.root),
        hint=f"Verify it: govern verify {run.id}",
    )


def check_report(report: Path, *, workspace: Path, history: History | None = None) -> CheckedReport:
    """Check a report against the signed statement beside it. Needs no log and no network.

    Where the report stands on the workspace's log (`history`, where that was read before), it must be what the log says
    of it. Raises IntegrityError where the report, the statement, the bundle or the key were changed, or it is another
    run's.
    """
    if not report.is_file():
        raise UsageError("there is no such report", where=str(report), hint="Name the report.html of a run.")
    page = check_page(report, report_predicate)
    refuse_changed(report, report.name, page.subjects[report.name])
    with at(report):
        history = history or read_history(Workspace(workspace))
        signer, issued = signer_of(workspace, history, page)
        newest = _is_newest(history, Workspace(workspace), report, page.claim) if history and issued else None
    return CheckedReport(report, page.claim, signer, page.key.fingerprint, newest)


def signer_of(workspace: Path, history: History | None, page: CheckedPage[Any]) -> tuple[str | None, Stored | None]:
    """Who signed a page, as far as the workspace and its log know, and the event that took it in.

    Raises IntegrityError where the page stands on this log and the log knows nothing of it.
    """
    stored = history.took_in(page.statement, page.claim.audit) if history else None
    times = (page.claim.issued, history.logged(stored)) if history and stored else (page.claim.issued,)
    return signer_name(workspace, page.key.fingerprint, *times, history=history), stored


def _is_newest(history: History, place: Workspace, report: Path, claim: ReportPredicate) -> bool:
    """Whether a report is its run's newest, and all that is said of that run holds. Raises IntegrityError."""
    within = report.resolve().parent
    if within.is_relative_to((place.root / "runs").resolve()) and claim.run not in within.parts:
        raise IntegrityError(
            f"this is a report of run {claim.run}, in another run's folder",
            hint="Somebody put it there. Restore the run from a backup.",
        )
    facts = believed(history, place.run(claim.run))
    return facts.report is not None and facts.report.claim == claim and facts.unreported is None


def is_revoked(workspace: Path, run_id: str) -> bool | None:
    """Whether the removal that a report speaks of was revoked, as far as the workspace knows; None where it has no log.

    A report says nothing of it itself: it is fixed for ever.
    """
    history = read_history(Workspace(workspace))
    if history is None or not history.of(run_id):
        return None
    return bool(history.of(run_id, "removal.revoked"))


def signer_name(workspace: Path, fingerprint: str, *times: str, history: History | None = None) -> str | None:
    """Who held a key at all of these `times`, by the trust document or else the pinned keys; None where nobody says.

    The signed time is the signer's own word. Of a key that was ended it proves nothing, so that there also has to be
    the log's.
    """
    trusting = in_force(workspace, history)
    entry = trusting.trust.entry(fingerprint) if trusting else None
    if entry is None:
        return load_trusted(workspace / "trusted").name_of(fingerprint)
    proven = len(times) > 1 or entry.revoked_at is None
    return entry.person if proven and all(entry.holds_at(time) for time in times) else None
