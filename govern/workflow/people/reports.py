"""Checking a report without trusting who issued it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.errors import IntegrityError, UsageError, at
from govern.evidence.claims import History
from govern.signing import ReportPredicate, load_trusted, report_predicate
from govern.signing.page import check_page, refuse_changed
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


def check_report(report: Path, *, workspace: Path) -> CheckedReport:
    """Check a report against the signed statement beside it. Needs no log and no network.

    Where the workspace's log is the one that the report stands on, the report must be what that log says of it. Raises
    IntegrityError where the report, the statement, the bundle or the key were changed, or it is another run's.
    """
    if not report.is_file():
        raise UsageError("there is no such report", where=str(report), hint="Name the report.html of a run.")
    checked = check_page(report, report_predicate)
    refuse_changed(report, report.name, checked.subjects[report.name])
    claim, place = checked.claim, Workspace(workspace)
    history, logged, newest = read_history(place), None, None
    if history and history.origin == claim.audit.origin:
        with at(report):
            logged, newest = _logged(history, place, report, claim, checked.statement)
    times = [claim.issued, logged] if logged else [claim.issued]
    return CheckedReport(
        path=report,
        claim=claim,
        signer=signer_name(workspace, checked.key.fingerprint, *times, history=history),
        fingerprint=checked.key.fingerprint,
        newest=newest,
    )


def _logged(
    history: History, place: Workspace, report: Path, claim: ReportPredicate, statement: str
) -> tuple[str, bool]:
    """When the log took a report in, and whether it is its run's newest. Raises IntegrityError where it never did.

    `statement` is the SHA-256 of the statement beside it.
    """
    within = report.resolve().parent
    if within.is_relative_to((place.root / "runs").resolve()) and claim.run not in within.parts:
        raise IntegrityError(
            f"this is a report of run {claim.run}, in another run's folder",
            hint="Somebody put it there. Restore the run from a backup.",
        )
    issued = [stored for stored in history.of(claim.run, "report.issued") if statement in stored.event.digests.values()]
    if not issued:
        raise IntegrityError(
            "the log that it stands on, which is this workspace's, issued no such report",
            hint="Ask the issuer which report is theirs. Do not rely on this one.",
        )
    facts = believed(history, place.run(claim.run))
    newest = facts.report is not None and facts.report.claim == claim and facts.unreported is None
    return history.logged(issued[-1]), newest


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
