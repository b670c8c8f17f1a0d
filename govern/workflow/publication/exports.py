"""`govern report export`: what the newest report of a run says, in the formats that machines read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from govern.audit import Log
from govern.errors import UsageError
from govern.evidence.claims import History
from govern.policy import LoadedPolicy, PerplexityGate, TaskGate
from govern.records import ENDPOINT, Verdict, Waiver
from govern.reporting import Signer
from govern.reporting.exports import GatePlace, RunDocument, find_chromium, junit, ml_bom, model_card, pdf, sarif
from govern.reporting.view import Issue
from govern.signing import parse_statement, report_predicate
from govern.signing.waivers import WAIVER
from govern.workflow.files import REPORT, STATEMENT
from govern.workflow.people.reports import unverified
from govern.workflow.people.signed import read_acts
from govern.workflow.people.trust import in_force
from govern.workflow.people.waive import states_of
from govern.workflow.publication.report import earlier_attempts
from govern.workflow.runs import (
    applied_run,
    believed,
    check_artefacts,
    events_of,
    refuse_revoked,
    stored_plan,
    stored_policy,
    stored_removal,
    stored_sweep,
    verifications,
)
from govern.workspace import RunFolder, Workspace, write_atomic

Form = Literal["cyclonedx", "model-card", "junit", "sarif", "json", "pdf"]


@dataclass(frozen=True)
class Reported:
    """A run with a report: its folder, its policy, its document, and the waivers in force for that report."""

    run: RunFolder
    policy: LoadedPolicy
    document: RunDocument
    waivers: tuple[Waiver, ...]


def reported(run_id: str | None, *, workspace: Path) -> Reported:
    """A run, the latest applied one by default, as its newest report knows it.

    Raises IntegrityError where the log or an artefact of the run is not what it was, UsageError where the run has no
    report.
    """
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False) as log:
        log.verify()
        run = applied_run(place, log, run_id)
        events = events_of(log, run)
        check_artefacts(run, events)
        refuse_revoked(run, events)
        document = document_of(log, run)
        history = History(log.events())
        states = states_of(run, believed(history, run), in_force(workspace, history))
        waivers = tuple(waived.act for waived, state in states if state == "in force")
        return Reported(run, stored_policy(run, events), document, waivers)


def document_of(log: Log, run: RunFolder) -> RunDocument:
    """What the newest report of a run says. The caller has held the run's artefacts against the log."""
    issued = [stored.event.seq for stored in log.events(run=run.id, type="report.issued")]
    if not issued:
        raise unverified(run)
    claim = report_predicate(parse_statement(run.read(STATEMENT)))
    position = log.event(claim.audit.seq)
    plan = stored_plan(run)
    verdict = next(name for name in position.event.digests if name.endswith("verdict.json"))
    return RunDocument(
        plan=plan,
        removal=stored_removal(run),
        verdict=Verdict.parse(run.read(verdict)),
        report=Issue(
            run=run.id,
            issued=claim.issued,
            audit_origin=claim.audit.origin,
            audit_seq=claim.audit.seq,
            audit_leaf=claim.audit.leaf,
            signer=Signer(fingerprint=claim.signer.fingerprint, throwaway=claim.signer.kind == "throwaway"),
            failed_runs=earlier_attempts(log, plan, position),
            verifications=verifications(events_of(log, run), until=position.event.seq),
            valid_until=plan.valid_until(position.event.time),
            waivers=tuple(waived.act for waived in read_acts(log, run, WAIVER, before=issued[-1])),
        ),
        sweep=stored_sweep(run, plan),
    )


def write_export(found: Reported, form: Form, out: Path) -> list[Path]:
    """Write a run in one of the formats to the file `out`; a model card to the folder `out`, beside a model or not.

    Raises UsageError where a file of the card exists, or `out` cannot be written.
    """
    files = _files(found, form, out)
    taken = [path for path in files if form == "model-card" and path.exists()]
    if taken:
        raise UsageError(
            "a model card is never written over another file", where=str(taken[0]), hint="Remove it, or name a folder."
        )
    try:
        for path, data in files.items():
            # Writing is renaming into place, which would put a file where a device, a pipe or a link stood.
            place = path.resolve()
            if place.exists() and not (place.is_file() or place.is_dir()):
                raise UsageError("the export is written to an ordinary file, and this is none", where=str(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, data)
    except OSError as error:
        raise UsageError(f"the export cannot be written: {error.strerror}", where=str(out)) from None
    return [*files]


def _files(found: Reported, form: Form, out: Path) -> dict[Path, bytes]:
    document = found.document
    match form:
        case "model-card":
            return {out / name: data for name, data in model_card(document).items()}
        case "cyclonedx":
            return {out: ml_bom(document)}
        case "junit":
            return {out: junit(document)}
        case "sarif":
            places = tuple(gate_places(found.policy, document.verdict))
            return {out: sarif(document, policy_uri=_uri(found.policy.path), places=places, waivers=found.waivers)}
        case "json":
            return {out: document.canonical()}
        case "pdf":
            # The very page that was signed; `reported` has held it against the log.
            return {out: pdf(found.run.read(REPORT), find_chromium(), issued=document.report.issued)}


def gate_places(loaded: LoadedPolicy, verdict: Verdict) -> Iterator[GatePlace]:
    """Where each gate of a verdict, then each attack with a limit, stands in the policy.

    A verification that stopped early has not judged them all; a gate on an endpoint stands where its ceiling does.
    """
    verification = loaded.policy.verification
    places: list[tuple[str | None, str, tuple[str | int, ...]]] = [
        (gate.task, "ceiling", ("forget", index)) for index, gate in enumerate(verification.forget)
    ]
    for index, gate in enumerate(verification.utility):
        if not isinstance(gate, TaskGate):
            # the result's name says more than the policy's
            name = None if isinstance(gate, PerplexityGate) else gate.task
            places.append((name, "max_increase", ("utility", index)))
            continue
        places += [(gate.task, kind, ("utility", index)) for kind in ("floor", "max_drop")]
    left = list(places)
    for result in verdict.gates:
        deployed = result.task.endswith(ENDPOINT)
        wanted = result.task.removesuffix(ENDPOINT), result.kind
        found = next(entry for entry in (places if deployed else left) if (entry[0] or wanted[0], entry[1]) == wanted)
        if not deployed:
            left.remove(found)
        yield _place(loaded, "verification", *found[2], found[1])
    for attack in verdict.stress:
        if attack.verdict is not None and attack.max_recovery is not None:
            yield _place(loaded, "verification", "stress")


def _place(loaded: LoadedPolicy, *location: str | int) -> GatePlace:
    _, line, column = loaded.where(*location).rsplit(":", 2)
    return GatePlace(int(line), int(column))


def _uri(policy: Path) -> str:
    """The policy relative to the current folder, as forges want it; its name alone where it lies elsewhere."""
    here = Path.cwd()
    absolute = policy.absolute()
    return quote(absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else policy.name)
