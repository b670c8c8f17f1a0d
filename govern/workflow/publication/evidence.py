"""`govern evidence pack`: what a reviewer receives of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log, Stored, format_proof, own_note
from govern.clock import now
from govern.errors import UsageError
from govern.evidence import CheckedPack, names, verify_pack, write_pack
from govern.evidence.history import History
from govern.records import EventType
from govern.records.told import KeyGenerated, told
from govern.signing import LogKey
from govern.workflow.log.checkpoints import KeptCheckpoint, sign_head
from govern.workflow.people.review import report_of
from govern.workflow.people.trust import check_trust, in_force
from govern.workflow.runs import applied_run, believed
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Packed:
    """A pack in its place, as its own verifier reads it."""

    run: RunFolder
    path: Path
    checked: CheckedPack


def pack(run_id: str | None, out: Path, *, workspace: Path, log_key: LogKey) -> Packed:
    """Write the evidence of a run, the latest applied one by default, to the new folder `out`, and check it there.

    Its proofs lead to a checkpoint of the log as it is now, which the workspace keeps as well. Raises IntegrityError
    where the log or an artefact of the run is not what it was, UsageError where the run has no report, the log does
    not name `log_key` or `out` exists.
    """
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        log.verify()
        history = History(log.events())
        check_trust(place, history)
        run = applied_run(place, log, run_id)
        report_of(run, believed(history, run))
        files, events = _run_files(log, run)
        _add_people(log, run, files, events)
        _add_trust(place, log, files, events)
        _add_proofs(log, sign_head(workspace, key=log_key), files, events)
    write_pack(files, out)
    return Packed(run, out, verify_pack(out, now=now()))


def _run_files(log: Log, run: RunFolder) -> tuple[dict[str, bytes], dict[str, Stored]]:
    """The run's own files, and the events that bind them by the name of the file that holds each."""
    issued = _last(log, run, "report.issued")
    if issued is None:
        raise UsageError(
            f"run {run.id} has no report to show evidence for",
            where=str(run.root),
            hint=f"Verify it: govern verify {run.id}",
        )
    if not set(names.ISSUED_FILES) <= set(issued.event.digests):
        raise UsageError(
            "the report is of a time when less was signed with it",
            where=str(run.root),
            hint=f"Issue it again: govern report render {run.id}",
        )
    events = {names.ISSUED_EVENT: issued}
    kinds: dict[str, EventType] = {names.APPLIED_EVENT: "apply.finished", names.VERIFIED_EVENT: "verify.finished"}
    for name, kind in kinds.items():
        found = _last(log, run, kind, before=issued.event.seq)
        assert found is not None  # noqa: S101 - a report is only ever issued after both
        events[name] = found
    verdict = next(path for path in events[names.VERIFIED_EVENT].event.digests if path.endswith(f"/{names.VERDICT}"))
    stored = {name: name for name in (*names.ISSUED_FILES, names.POLICY, names.PLAN, names.REMOVAL)}
    return {name: run.read(path) for name, path in {**stored, names.VERDICT: verdict}.items()}, events


def _add_people(log: Log, run: RunFolder, files: dict[str, bytes], events: dict[str, Stored]) -> None:
    """Everything that somebody signed over the run: sign-offs, waivers, a revocation."""
    for stored in log.events(run=run.id):
        if stored.event.type not in {kind.event for kind in names.KINDS}:
            continue
        for path in stored.event.digests:
            files[path] = run.read(path)
        folder = Path(next(iter(stored.event.digests))).parent.as_posix()
        events[f"{folder}/{names.ISSUED_EVENT}"] = stored


def _add_trust(place: Workspace, log: Log, files: dict[str, bytes], events: dict[str, Stored]) -> None:
    trusting = in_force(place.root)
    if trusting is None:
        return
    folder = place.root / "trust" / f"{trusting.trust.serial:03d}"
    for name in (names.TRUST, names.TRUST_BUNDLE, names.ROOT_KEY):
        files[name] = (folder / name).read_bytes()
    events[names.TRUST_EVENT] = list(log.events(type="trust.changed"))[-1]


def _add_proofs(log: Log, kept: KeptCheckpoint, files: dict[str, bytes], events: Mapping[str, Stored]) -> None:
    # A pack's reader cannot check cosignatures without knowing the cosigners, and nothing unchecked lies in a pack.
    note = own_note(kept.note)
    files[names.CHECKPOINT] = note
    files[names.LOG_KEY] = f"{kept.verifier.vkey}\n".encode()
    made = next(
        entry
        for entry in log.events(type="key.generated")
        if told(entry.event, KeyGenerated).vkey == kept.verifier.vkey
    )
    for name, stored in {**events, names.LOG_EVENT: made}.items():
        files[name] = stored.body
        hashes = log.prove_inclusion(stored.event.seq, kept.checkpoint.size)
        files[names.proof_of(name)] = format_proof(stored.event.seq, hashes, note)


def _last(log: Log, run: RunFolder, kind: EventType, *, before: int | None = None) -> Stored | None:
    found = [stored for stored in log.events(run=run.id, type=kind) if before is None or stored.event.seq < before]
    return found[-1] if found else None
