"""`govern review`: who decided what over a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from govern.audit import Log, Stored
from govern.errors import IntegrityError, UsageError
from govern.records import Decision, Reviewer, SignOff, Trust
from govern.signing import SigningKey
from govern.signing.reviews import Review, Standing, may_review, sign_review, standing, verify_review
from govern.workflow.files import REPORT
from govern.workflow.log.checkpoints import at
from govern.workflow.people.reports import CheckedReport, check_report
from govern.workflow.people.signed import (
    check_position,
    head_of,
    issued_files,
    logged_at,
    open_for_signing,
    person,
    read_signed,
    report_files,
    vouched,
    write_signed,
)
from govern.workflow.people.trust import in_force, now
from govern.workflow.runs import stored_plan, told_by
from govern.workspace import RunFolder, Workspace

REVIEW_BUNDLE: Final = "review.sigstore.json"
REVIEWER_KEY: Final = "reviewer.pub"


@dataclass(frozen=True)
class Reviewed:
    """A sign-off in its place, and what the run's sign-offs now come to."""

    run: RunFolder
    path: Path
    signoff: SignOff
    standing: Standing


def review(run_id: str | None, *, decision: Decision, comment: str, workspace: Path, key: SigningKey) -> Reviewed:
    """Sign a decision over a run's newest report.

    Raises UsageError where the signature would not count, or the person decided before; IntegrityError where the log,
    the report or another artefact of the run is not what it was.
    """
    with open_for_signing(workspace, run_id) as (place, log, run, events):
        checked = report_of(run, workspace)
        reviewer = _reviewer(place, run, checked, decision, key)
        files = report_files(run)
        try:
            signoff = SignOff(
                run=run.id,
                report=files[REPORT],
                audit=head_of(log),
                decision=decision,
                comment=comment,
                reviewer=reviewer,
                time=now(),
            )
        except ValidationError as error:
            raise UsageError(
                error.errors(include_input=False)[0]["msg"].removeprefix("Value error, "), where="comment"
            ) from None
        _refuse_second_thoughts(signoff, read_reviews(log, run))
        bundle = sign_review(signoff, files, key)
        folder, digests = write_signed(run, events, "reviews", {REVIEW_BUNDLE: bundle, REVIEWER_KEY: key.public.pem})
        log.append(
            "review.signed",
            actor=key.public.fingerprint,
            run=run.id,
            policy_digest=checked.claim.policy_digest,
            model_after=checked.claim.model_after,
            digests=digests,
            parameters={"decision": decision, "report": files[REPORT], "role": reviewer.role},
        )
        found = standing_of(log, run, checked, workspace)
    return Reviewed(run, run.path(folder), signoff, found)


def read_reviews(log: Log, run: RunFolder) -> tuple[Review, ...]:
    """Every sign-off of a run, oldest first, each held against the log. Raises IntegrityError."""
    return tuple(_read_review(log, run, stored) for stored in log.events(run=run.id, type="review.signed"))


def report_of(run: RunFolder, workspace: Path) -> CheckedReport:
    """A run's newest report, checked. Raises UsageError where it has none."""
    if not run.path(REPORT).is_file():
        raise UsageError(
            f"run {run.id} has no report to review", where=str(run.root), hint=f"Verify it: govern verify {run.id}"
        )
    return check_report(run.path(REPORT), workspace=workspace)


def _reviewer(
    place: Workspace, run: RunFolder, checked: CheckedReport, decision: Decision, key: SigningKey
) -> Reviewer:
    """Who holds the key, where this person may decide over this report. Raises UsageError."""
    plan, (trusting, entry) = stored_plan(run), vouched(place, key)
    if reason := may_review(entry, roles=plan.review_roles, issuer=checked.fingerprint, trust=trusting.trust):
        raise UsageError(reason, where=f"key {key.public.fingerprint}")
    if decision == "approve" and checked.claim.verdict == "fail":
        raise UsageError(
            "a run with a failed gate cannot be approved",
            where=run.id,
            hint="Reject it, or apply a policy that passes. Thresholds are the policy's, and each change is logged.",
        )
    return person(entry)


def _refuse_second_thoughts(signoff: SignOff, earlier: tuple[Review, ...]) -> None:
    own = [review.signoff for review in earlier if review.signoff.reviewer.person == signoff.reviewer.person]
    if rejected := next((before for before in own if before.decision == "reject"), None):
        raise UsageError(
            f"{signoff.reviewer.person} rejected this run on {rejected.time[:10]}, and a rejection stands",
            where=signoff.run,
            hint="Apply the policy again: a new run is reviewed afresh.",
        )
    if signoff.decision == "approve" and signoff.report in {before.report for before in own}:
        raise UsageError(f"{signoff.reviewer.person} approved this report before", where=signoff.run)


def _read_review(log: Log, run: RunFolder, stored: Stored) -> Review:
    event, signed = stored.event, read_signed(run, stored, bundle=REVIEW_BUNDLE, key=REVIEWER_KEY)
    with at(signed.path):
        signoff = verify_review(signed.bundle, signed.key)
        verify_review(signed.bundle, signed.key, issued_files(log, run, signoff.report, signoff.audit))
        with told_by(event):
            told = (event.actor, event.run, event.parameters["decision"], event.parameters["report"])
        if told != (signed.key.fingerprint, signoff.run, signoff.decision, signoff.report):
            raise IntegrityError("the sign-off is not the one that the log speaks of")
        check_position(log, event, signoff.audit)
    return Review(signoff, signed.key.fingerprint, logged_at(event.time))


def standing_of(log: Log, run: RunFolder, checked: CheckedReport, workspace: Path) -> Standing:
    """What the sign-offs of a run come to for its newest report."""
    plan, trusting = stored_plan(run), in_force(workspace)
    nobody = Trust(serial=1, previous=None, issued=now(), root=checked.fingerprint, keys=())
    return standing(
        read_reviews(log, run),
        report=report_files(run)[REPORT],
        verdict=checked.claim.verdict,
        required=plan.reviews_required,
        roles=plan.review_roles,
        issuer=checked.fingerprint,
        trust=trusting.trust if trusting else nobody,
        now=now(),
    )
