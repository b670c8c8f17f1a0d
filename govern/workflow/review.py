"""`govern review` and `govern status`: who decided what over a report, and who still has to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from govern.audit import Log, Stored
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.records import AuditPosition, Decision, Reviewer, SignOff, Trust, VerdictValue
from govern.signing import SigningKey, load_public
from govern.signing.reviews import Review, Standing, may_review, sign_review, standing, verify_review
from govern.workflow.report import CheckedReport, check_report
from govern.workflow.runs import (
    REPORT,
    REPORT_MARKDOWN,
    STATEMENT,
    applied_run,
    check_artefacts,
    events_of,
    stored_plan,
)
from govern.workflow.trust import in_force, now
from govern.workspace import RunFolder, Workspace

REVIEW_BUNDLE: Final = "review.sigstore.json"
REVIEWER_KEY: Final = "reviewer.pub"
# What a sign-off is over: the newest report, and the statement that signs it.
REVIEWED: Final = (REPORT, REPORT_MARKDOWN, STATEMENT)


@dataclass(frozen=True)
class Reviewed:
    """A sign-off in its place, and what the run's sign-offs now come to."""

    run: RunFolder
    path: Path
    signoff: SignOff
    standing: Standing


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. `verdict`, `issued` and `standing` are None where it has no report yet."""

    run: str
    applied: bool
    verdict: VerdictValue | None
    issued: str | None
    required: int
    roles: tuple[str, ...]
    standing: Standing | None


def review(run_id: str | None, *, decision: Decision, comment: str, workspace: Path, key: SigningKey) -> Reviewed:
    """Sign a decision over a run's newest report.

    Raises UsageError where the signature would not count, or the person decided before; IntegrityError where the log,
    the report or another artefact of the run is not what it was.
    """
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False, trust=place.trust) as log:
        log.verify()
        run = applied_run(place, log, run_id)
        with run.locked():
            check_artefacts(run, events_of(log, run))
            checked = _report_of(run, workspace)
            reviewer = _reviewer(place, run, checked, decision, key)
            files = report_files(run)
            head = log.head()
            assert head is not None  # noqa: S101 - a log that checked out has events
            try:
                signoff = SignOff(
                    run=run.id,
                    report=files[REPORT],
                    audit=AuditPosition(origin=head.event.origin, seq=head.event.seq, leaf=head.leaf),
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
            folder = run.next_numbered("reviews")
            artefacts = {REVIEW_BUNDLE: sign_review(signoff, files, key), REVIEWER_KEY: key.public.pem}
            for name, data in artefacts.items():
                run.write(f"{folder}/{name}", data)
            log.append(
                "review.signed",
                actor=key.public.fingerprint,
                run=run.id,
                policy_digest=checked.claim.policy_digest,
                model_after=checked.claim.model_after,
                digests={f"{folder}/{name}": sha256_bytes(data) for name, data in artefacts.items()},
                parameters={"decision": decision, "report": files[REPORT], "role": reviewer.role},
            )
            found = _standing(log, run, checked, workspace)
    return Reviewed(run, run.path(folder), signoff, found)


def status(workspace: Path, *, run_id: str | None = None) -> list[RunStatus]:
    """Where every run stands, or the one that is named. Raises IntegrityError where a signature does not hold."""
    place = Workspace.open(workspace)
    runs = [place.run(run_id)] if run_id else place.runs()
    if isinstance(place.database, Path) and not place.database.exists():
        return []
    with Log.open(place.database, create=False) as log:
        return [_status(log, run, workspace) for run in runs]


def read_reviews(log: Log, run: RunFolder) -> tuple[Review, ...]:
    """Every sign-off of a run, oldest first, each held against the log. Raises IntegrityError."""
    return tuple(_read_review(log, run, stored) for stored in log.events(run=run.id, type="review.signed"))


def report_files(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of each file that a sign-off of the newest report is over."""
    return {name: sha256_bytes(run.read(name)) for name in REVIEWED}


def _report_of(run: RunFolder, workspace: Path) -> CheckedReport:
    if not run.path(REPORT).is_file():
        raise UsageError(
            f"run {run.id} has no report to review", where=str(run.root), hint=f"Verify it: govern verify {run.id}"
        )
    return check_report(run.path(REPORT), workspace=workspace)


def _reviewer(
    place: Workspace, run: RunFolder, checked: CheckedReport, decision: Decision, key: SigningKey
) -> Reviewer:
    """Who holds the key, where this person may decide over this report. Raises UsageError."""
    plan, trusting, fingerprint = stored_plan(run), in_force(place.root), key.public.fingerprint
    entry = trusting.trust.entry(fingerprint) if trusting else None
    if trusting is None or entry is None or not entry.holds_at(now()):
        raise UsageError(
            "nobody vouches for this key, so its signature would not count",
            where=f"key {fingerprint}",
            hint="The holder of the root key adds it: govern trust add KEY.pub --person NAME --role ROLE",
        )
    if reason := may_review(entry, roles=plan.review_roles, issuer=checked.fingerprint, trust=trusting.trust):
        raise UsageError(reason, where=f"key {fingerprint}")
    if decision == "approve" and checked.claim.verdict == "fail":
        raise UsageError(
            "a run with a failed gate cannot be approved",
            where=run.id,
            hint="Reject it, or apply a policy that passes. Thresholds are the policy's, and each change is logged.",
        )
    return Reviewer(person=entry.person, role=entry.role)


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
    event = stored.event
    paths = {Path(name).name: name for name in event.digests}
    where = str(run.path(paths[REVIEW_BUNDLE]))
    try:
        key = load_public(run.read(paths[REVIEWER_KEY]))
        bundle = run.read(paths[REVIEW_BUNDLE])
        signoff = verify_review(bundle, key)
        for issued in log.events(run=run.id, type="report.issued"):
            if issued.event.digests[REPORT] == signoff.report and issued.event.seq <= signoff.audit.seq:
                verify_review(bundle, key, {name: issued.event.digests[name] for name in REVIEWED})
                break
        else:
            raise IntegrityError("the sign-off is over a report that this run never issued", where=where)
    except IntegrityError as error:
        raise IntegrityError(error.message, where=error.where or where, hint=error.hint) from None
    told = (event.actor, event.run, event.parameters["decision"], event.parameters["report"])
    if told != (key.fingerprint, signoff.run, signoff.decision, signoff.report):
        raise IntegrityError("the sign-off is not the one that the log speaks of", where=where)
    stands_on = log.event(signoff.audit.seq) if signoff.audit.seq < event.seq else None
    if stands_on is None or (stands_on.event.origin, stands_on.leaf) != (signoff.audit.origin, signoff.audit.leaf):
        raise IntegrityError(
            f"the sign-off stands on event {signoff.audit.seq} with leaf sha256:{signoff.audit.leaf}, which the log "
            "does not have",
            where=where,
            hint="The log was cut or replaced after the reviewer signed. Restore it from a backup.",
        )
    return Review(signoff, key.fingerprint, logged_at(event.time))


def logged_at(time: str) -> str:
    """An event's time, to the second."""
    return f"{time[:19]}Z"


def _standing(log: Log, run: RunFolder, checked: CheckedReport, workspace: Path) -> Standing:
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


def _status(log: Log, run: RunFolder, workspace: Path) -> RunStatus:
    events = events_of(log, run)
    check_artefacts(run, events)
    applied = any(event.type == "apply.finished" for event in events)
    plan = stored_plan(run) if applied else None
    checked = _report_of(run, workspace) if any(event.type == "report.issued" for event in events) else None
    return RunStatus(
        run=run.id,
        applied=applied,
        verdict=checked.claim.verdict if checked else None,
        issued=checked.claim.issued if checked else None,
        required=plan.reviews_required if plan else 0,
        roles=plan.review_roles if plan else (),
        standing=_standing(log, run, checked, workspace) if checked else None,
    )
