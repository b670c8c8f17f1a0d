"""Issuing a report, and checking one without trusting who issued it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log, Stored
from govern.clock import now
from govern.digests import sha256_bytes
from govern.errors import UsageError
from govern.evidence import edit_statements
from govern.policy import LoadedPolicy
from govern.records import Event, Plan, Removal, Verdict
from govern.records.told import Failed, ReportIssued, VerifyFinished, told
from govern.reporting.document import FailedRun, Issue, RunDocument, Signer
from govern.reporting.render import render_report
from govern.reporting.view import build_view
from govern.signing import (
    AttackClaim,
    AuditPosition,
    GateClaim,
    ReportPredicate,
    SigningKey,
    parse_statement,
    report_predicate,
    report_statement,
    sign,
    throwaway_key,
)
from govern.signing.model_signature import MODEL_SIGNATURE, WHOLE, sign_model
from govern.signing.page import identity, sign_page
from govern.signing.waivers import WAIVER
from govern.version import __version__
from govern.workflow.files import DELTA, REPORT, REPORT_MARKDOWN, STATEMENT
from govern.workflow.people.reports import unverified
from govern.workflow.people.signed import read_acts
from govern.workflow.runs import (
    LATEST,
    check_artefacts,
    events_of,
    finish_issue,
    held_run,
    refuse_revoked,
    stored_plan,
    stored_policy,
    stored_removal,
    stored_sweep,
    verifications,
)
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Issued:
    """A report in its place."""

    path: Path
    sha256: str
    signer: str
    throwaway: bool


def issue_report(
    log: Log,
    run: RunFolder,
    loaded: LoadedPolicy,
    plan: Plan,
    removal: Removal,
    verdict: Verdict,
    position: Stored,
    *,
    key: SigningKey | None,
    templates: Path | None,
) -> Issued:
    """Render, sign and store a report in a folder of its own, and as the newest one at the top of the run."""
    signing_key = key or throwaway_key()
    signer = Signer(fingerprint=signing_key.public.fingerprint, throwaway=signing_key.throwaway)
    issued = now()
    document = RunDocument(
        plan=plan,
        removal=removal,
        verdict=verdict,
        report=Issue(
            run=run.id,
            issued=issued,
            audit_origin=position.event.origin,
            audit_seq=position.event.seq,
            audit_leaf=position.leaf,
            signer=signer,
            failed_runs=earlier_attempts(log.events(), plan, position),
            verifications=verifications(events_of(log, run), until=position.event.seq),
            valid_until=plan.valid_until(position.event.time),
            waivers=tuple(waived.act for waived in read_acts(log, run, WAIVER)),
        ),
        sweep=stored_sweep(run, plan),
    )
    view = build_view(document, loaded.source.decode())
    html, markdown = render_report(view, templates=templates)
    predicate = ReportPredicate(
        govern=__version__,
        run=run.id,
        issued=issued,
        policy_digest=plan.policy_digest,
        plan_digest=plan.sha256,
        model_before=removal.base_model_digest,
        model_after=removal.edited_model_digest,
        delta_sha256=removal.delta_sha256,
        verdict=verdict.verdict,
        verdict_digest=verdict.sha256,
        gates=tuple(GateClaim(**gate.model_dump(include=set(GateClaim.model_fields))) for gate in verdict.gates),
        attacks=tuple(
            AttackClaim(**found.model_dump(include=set(AttackClaim.model_fields)))
            for found in verdict.stress
            if found.verdict is not None
        ),
        templates={REPORT: html.template_sha256, REPORT_MARKDOWN: markdown.template_sha256},
        audit=AuditPosition(origin=position.event.origin, seq=position.event.seq, leaf=position.leaf),
        signer=identity(signing_key),
    )
    pages = {REPORT: html.data, REPORT_MARKDOWN: markdown.data}
    artefacts = {
        **pages,
        **sign_page(pages, lambda drawn: report_statement(drawn, predicate), signing_key),
        **{name: sign(said, signing_key) for name, said in edit_statements(plan, removal, verdict).items()},
        MODEL_SIGNATURE: sign_model(DELTA, {WHOLE: removal.delta_sha256}, signing_key),
    }
    folder = run.next_numbered("reports")
    for name, data in artefacts.items():
        run.write(f"{folder}/{name}", data)
    log.append(
        "report.issued",
        actor=signer.fingerprint,
        run=run.id,
        policy_digest=plan.policy_digest,
        model_before=removal.base_model_digest,
        model_after=removal.edited_model_digest,
        digests={path: sha256_bytes(data) for name, data in artefacts.items() for path in (f"{folder}/{name}", name)},
        parameters=ReportIssued(verdict=verdict.verdict, throwaway_key=signer.throwaway).to_json(),
    )
    for name, data in artefacts.items():
        run.write(name, data)
    return Issued(run.path(REPORT), sha256_bytes(html.data), signer.fingerprint, signer.throwaway)


def refuse_missing_templates(templates: Path | None) -> None:
    """Raise UsageError for a folder that is not there, before anything is measured."""
    if templates is not None and not templates.is_dir():
        raise UsageError("there is no such folder of templates", where=str(templates))


def reissue(run_id: str | None, *, workspace: Path, key: SigningKey | None, templates: Path | None) -> Issued:
    """Issue the report of a run's newest verification once more. Raises UsageError where it was never verified."""
    refuse_missing_templates(templates)
    with held_run(workspace, run_id) as (_, log, run, events):
        refuse_revoked(run, events)
        finish_issue(run, events)
        check_artefacts(run, events)
        finished = list(log.events(run=run.id, type="verify.finished"))
        if not finished:
            raise unverified(run)
        verdict = next(name for name in finished[-1].event.digests if name.endswith("verdict.json"))
        before = run.path(STATEMENT)
        claim = report_predicate(parse_statement(before.read_bytes())) if before.is_file() and key else None
        if claim and key and (claim.issued, claim.signer.fingerprint) == (now(), key.public.fingerprint):
            # It would be the same report in every byte but its signature, and a log takes in each report once.
            raise UsageError("the report was issued this very second", where=str(run.root), hint="Issue it once more.")
        return issue_report(
            log,
            run,
            stored_policy(run, events),
            stored_plan(run),
            stored_removal(run),
            Verdict.parse(run.read(verdict)),
            finished[-1],
            key=key,
            templates=templates,
        )


def find_report(run_id: str | None, *, workspace: Path) -> Path:
    """The newest report of a run, by default and for `latest` of the run that was verified last."""
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        issued = [stored.event.run for stored in log.events(type="report.issued")]
    if run_id not in (None, LATEST):
        run = place.run(run_id)
        if run.id not in issued:
            raise unverified(run)
        return run.path(REPORT)
    if not issued or issued[-1] is None:
        raise UsageError("there is no report yet", where=str(workspace), hint="Issue one with: govern verify")
    return place.run(issued[-1]).path(REPORT)


def earlier_attempts(history: Iterable[Stored], plan: Plan, position: Stored) -> tuple[FailedRun, ...]:
    """Every earlier try at this policy or this model: failed, unfinished, verified, and applied without a verdict."""
    ended: set[str | None] = set()
    applied: dict[str | None, Event] = {}
    started: dict[str | None, Stored] = {}
    found: list[FailedRun] = []
    ours = position.event
    for stored in history:
        event = stored.event
        if event.seq >= ours.seq or not (
            event.policy_digest == plan.policy_digest or event.model_before == plan.model.digest
        ):
            continue
        if event.type == "apply.started":
            started[event.run] = stored
        elif event.type in ("apply.failed", "apply.finished"):
            ended.add(event.run)
        if event.type == "apply.finished" and event.run != ours.run:
            applied[event.run] = event
        elif event.type == "verify.finished":
            applied.pop(event.run, None)
        if event.type in ("apply.failed", "verify.failed"):
            found.append(_failed(event, told(event, Failed).error))
        elif event.type == "verify.finished":
            found.append(_failed(event, f"verdict {told(event, VerifyFinished).verdict}"))
    found += [_failed(stored.event, "never finished") for run, stored in started.items() if run not in ended]
    found += [_failed(event, "applied, never verified") for event in applied.values()]
    return tuple(sorted(found, key=lambda attempt: attempt.time))


def _failed(event: Event, message: str) -> FailedRun:
    return FailedRun(run=event.run or "", type=event.type, time=event.time, message=message)
