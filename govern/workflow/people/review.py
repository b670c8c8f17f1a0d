"""`govern review`: who decided what over a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.clock import now
from govern.errors import UsageError
from govern.evidence.claims import Believed, RunFacts
from govern.evidence.history import History
from govern.evidence.trusting import Trusting
from govern.records import Decision, SignOff, Trust, TrustEntry, same_person
from govern.signing import SigningKey
from govern.signing.acts import Signed
from govern.signing.reviews import SIGN_OFF, Standing, may_review, standing
from govern.workflow.people.signed import Acted, Desk, open_for_signing, person
from govern.workflow.people.trust import in_force
from govern.workflow.runs import believed, stored_plan
from govern.workspace import RunFolder


@dataclass(frozen=True)
class Reviewed(Acted[SignOff]):
    """A sign-off in its place, and what the run's sign-offs now come to."""

    standing: Standing


def review(run_id: str | None, *, decision: Decision, comment: str, workspace: Path, key: SigningKey) -> Reviewed:
    """Sign a decision over a run's newest report.

    Raises UsageError where the signature would not count, or the person decided before; IntegrityError where the log,
    the report or another artefact of the run is not what it was.
    """
    with open_for_signing(workspace, run_id, key) as desk:
        facts = desk.facts()
        report = report_of(desk.run, facts)
        entry = _reviewer(desk, report, decision)
        signoff = desk.draft(SIGN_OFF, report=report.sha256, decision=decision, comment=comment, reviewer=person(entry))
        _refuse_second_thoughts(signoff, facts.of(SIGN_OFF))
        done = desk.sign(SIGN_OFF, signoff, report.files)
        history = History(desk.log.events())
        facts = believed(history, desk.run)
        return Reviewed(done.run, done.path, signoff, standing_of(desk.run, facts, in_force(workspace, history)))


def report_of(run: RunFolder, facts: RunFacts) -> Believed:
    """A run's newest report. Raises UsageError where it has none, or none of its newest verification."""
    if facts.report is None or facts.unreported is not None:
        raise UsageError(
            f"run {run.id} has no report{' of its newest verification' if facts.unreported else ' to review'}",
            where=str(run.root),
            hint=f"Get one: govern {'report render' if facts.unreported else 'verify'} {run.id}",
        )
    return facts.report


def _reviewer(desk: Desk, report: Believed, decision: Decision) -> TrustEntry:
    """Who holds the key, where this person may decide over this report. Raises UsageError."""
    plan, (trusting, entry) = stored_plan(desk.run), desk.vouched()
    if reason := may_review(entry, roles=plan.review_roles, issuer=report.key.fingerprint, trust=trusting.trust):
        raise UsageError(reason, where=f"key {desk.key.public.fingerprint}")
    if decision == "approve" and report.claim.verdict == "fail":
        raise UsageError(
            "a run with a failed gate cannot be approved",
            where=desk.run.id,
            hint="Reject it, or apply a policy that passes. Thresholds are the policy's, and each change is logged.",
        )
    return entry


def _refuse_second_thoughts(signoff: SignOff, earlier: tuple[Signed[SignOff], ...]) -> None:
    name = signoff.reviewer.person
    own = [review.act for review in earlier if same_person(review.act.reviewer.person, name)]
    if rejected := next((before for before in own if before.decision == "reject"), None):
        raise UsageError(
            f"{name} rejected this run on {rejected.time[:10]}, and a rejection stands",
            where=signoff.run,
            hint="Apply the policy again: a new run is reviewed afresh.",
        )
    if signoff.decision == "approve" and signoff.report in {before.report for before in own}:
        raise UsageError(f"{name} approved this report before", where=signoff.run)


def standing_of(run: RunFolder, facts: RunFacts, trusting: Trusting | None) -> Standing:
    """What the sign-offs of a run come to for its newest report."""
    plan, report = stored_plan(run), report_of(run, facts)
    issuer = report.key.fingerprint
    return standing(
        [review for review in facts.of(SIGN_OFF) if trusting and trusting.vouched(review)],
        report=report.sha256,
        verdict=report.claim.verdict,
        required=plan.reviews_required,
        roles=plan.review_roles,
        issuer=issuer,
        trust=trusting.trust if trusting else Trust(serial=1, previous=None, issued=now(), root=issuer, keys=()),
        now=now(),
    )
