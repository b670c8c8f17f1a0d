"""`govern report export`: what the newest report of a run says, in the formats that machines read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from govern.audit import Log
from govern.errors import UsageError
from govern.evidence.history import History
from govern.policy import LoadedPolicy
from govern.records import ENDPOINT, Verdict, Waiver
from govern.reporting.document import Issue, RunDocument, Signer
from govern.reporting.exports import load_export
from govern.reporting.exports.protocol import GatePlace, Need
from govern.signing.waivers import WAIVER
from govern.workflow.files import REPORT
from govern.workflow.people.reports import unverified
from govern.workflow.people.review import report_of
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
    with Log.read(place.database) as log:
        log.verify()
        run = applied_run(place, log, run_id)
        events = events_of(log, run)
        check_artefacts(run, events)
        refuse_revoked(run, events)
        history = History(log.events())
        document = document_of(history, run)
        states = states_of(run, believed(history, run), in_force(workspace, history))
        waivers = tuple(waived.act for waived, state in states if state == "in force")
        return Reported(run, stored_policy(run, events), document, waivers)


def document_of(history: History, run: RunFolder) -> RunDocument:
    """What the newest report of a run says. Raises IntegrityError where an artefact is not what the log says it was."""
    facts = believed(history, run)
    if facts.report is None:
        raise unverified(run)
    report = report_of(run, facts)
    claim, position = report.claim, report.verified
    plan = stored_plan(run)
    verdict = next(name for name in position.event.digests if name.endswith("verdict.json"))
    events = [stored.event for stored in history.of(run.id)]
    waivers = facts.of(WAIVER, before=report.issued.event.seq)
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
            failed_runs=earlier_attempts(history.entries, plan, position),
            verifications=verifications(events, until=position.event.seq),
            valid_until=plan.valid_until(position.event.time),
            waivers=tuple(waived.act for waived in waivers),
        ),
        sweep=stored_sweep(run, plan),
    )


def write_export(found: Reported, form: str, out: Path) -> list[Path]:
    """Write a run in one of the formats to the file `out`; a model card to the folder `out`, beside a model or not.

    Raises UsageError where a file of the card exists, or `out` cannot be written.
    """
    export = load_export(form)
    made = export.write(**{need: _SUPPLIES[need](found) for need in export.needs})
    files = {out: made} if isinstance(made, bytes) else {out / name: data for name, data in made.items()}
    taken = [path for path in files if not isinstance(made, bytes) and path.exists()]
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


def gate_places(loaded: LoadedPolicy, verdict: Verdict) -> Iterator[GatePlace]:
    """Where each gate of a verdict, then each attack with a limit, stands in the policy.

    A verification that stopped early has not judged them all; a gate on an endpoint stands where its ceiling does.
    """
    thresholds = list(loaded.policy.verification.thresholds())
    left = list(thresholds)
    for result in verdict.gates:
        deployed = result.task.endswith(ENDPOINT)
        task = result.task.removesuffix(ENDPOINT)
        found = next(
            each
            for each in (thresholds if deployed else left)
            # of held-back text the result's name says more than the policy's
            if each.kind == result.kind and (each.held_back or each.task == task)
        )
        if not deployed:
            left.remove(found)
        yield _place(loaded, "verification", *found.place, found.kind)
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


_SUPPLIES: Mapping[Need, Callable[[Reported], object]] = {
    "document": lambda found: found.document,
    # The very page that was signed; `reported` has held it against the log.
    "page": lambda found: found.run.read(REPORT),
    "policy_uri": lambda found: _uri(found.policy.path),
    "places": lambda found: tuple(gate_places(found.policy, found.document.verdict)),
    "waivers": lambda found: found.waivers,
}
