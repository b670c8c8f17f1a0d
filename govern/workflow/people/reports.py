"""Checking a report without trusting who issued it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.digests import sha256_file
from govern.errors import IntegrityError, UsageError
from govern.signing import (
    PublicKey,
    ReportPredicate,
    SignerIdentity,
    Statement,
    load_public,
    load_trusted,
    parse_statement,
    report_predicate,
    verify,
)
from govern.workflow.files import BUNDLE, SIGNER, STATEMENT
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
    folder = report.parent
    statement, key = signed_statement(folder)
    expected, found = bound_with(report, statement)[report.name], sha256_file(report)
    if expected != found:
        raise IntegrityError(
            f"the report was changed after it was signed: the statement knows {report.name} as sha256:{expected}, "
            f"it is sha256:{found}",
            where=str(report),
            hint="Ask the issuer for the original. Do not rely on this copy.",
        )
    claim = report_predicate(statement)
    refuse_other_signer(claim.signer, key, folder)
    return CheckedReport(
        path=report,
        claim=claim,
        signer=signer_name(workspace, key.fingerprint, claim.issued),
        fingerprint=key.fingerprint,
    )


def signed_statement(folder: Path) -> tuple[Statement, PublicKey]:
    """The statement beside a report, whose signature holds, and the key that made it. Raises IntegrityError."""
    bundle, key = _beside(folder, BUNDLE), load_public(_beside(folder, SIGNER))
    payload = verify(bundle, key)
    if payload != _beside(folder, STATEMENT):
        raise IntegrityError("the statement is not the one that was signed", where=str(folder / STATEMENT))
    return parse_statement(payload), key


def bound_with(report: Path, statement: Statement) -> dict[str, str]:
    """The SHA-256 of every file that a statement binds, by name. Raises UsageError where the report is none of them."""
    subjects = {subject.name: subject.digests.sha256 for subject in statement.subject}
    if report.name not in subjects:
        raise UsageError(
            f"the signed statement does not speak of a file named {report.name}",
            where=str(report),
            hint=f"It speaks of {', '.join(subjects)}.",
        )
    return subjects


def refuse_other_signer(named: SignerIdentity, key: PublicKey, folder: Path) -> None:
    """Raise IntegrityError where a statement names another signer than the one whose signature holds."""
    if named.fingerprint != key.fingerprint:
        raise IntegrityError(
            f"the statement names key sha256:{named.fingerprint} as its signer, and another one signed it",
            where=str(folder / BUNDLE),
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


def _beside(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError:
        raise IntegrityError(
            f"{name} is missing beside the report, so nothing vouches for it",
            where=str(folder / name),
            hint="A report is checked together with the files it was issued with.",
        ) from None
