"""`govern audit`: read the log, and hold it and everything that it binds against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from govern.audit import Checkpoint, Cosigner, Damage, Head, Log, LogVerifier, Stored, cosigned_at, fsck
from govern.audit.quorum import Quorum
from govern.errors import IntegrityError, at
from govern.evidence.claims import revocation_of
from govern.evidence.history import History
from govern.signing import AuditPosition
from govern.signing.reviews import SIGN_OFF
from govern.signing.waivers import REVOCATION
from govern.workflow.files import POLICY, REPORT
from govern.workflow.log.checkpoints import (
    KeptCheckpoint,
    check_kept,
    check_one,
    kept_paths,
    log_verifiers,
    read_series,
)
from govern.workflow.people.trust import check_trust, in_force, repair_trust
from govern.workflow.publication.comparison import check_comparison
from govern.workflow.runs import (
    believed,
    bound_digests,
    check_artefacts,
    events_of,
    finish_issue,
    logged_runs,
    refuse_lost_log,
)
from govern.workspace import Workspace


@dataclass(frozen=True)
class Audited:
    """A log that holds, and how much of what it binds was compared with it.

    `checkpoints` counts those that the workspace keeps; `against` is the newest of the file that was named, and
    `cosigned` when each of the named cosigners saw that one, in seconds since 1970.
    """

    head: Head
    runs: int
    artefacts: int
    reports: int
    reviews: int
    checkpoints: int
    against: Checkpoint | None
    cosigned: dict[str, int]


def read_log(workspace: Path, *, run: str | None = None) -> list[Stored]:
    """The events of the log, oldest first, of one run or sweep where it is given."""
    place = Workspace.open(workspace)
    if run is not None and run not in {sweep.id for sweep in place.sweeps()}:
        place.run(run)
    with Log.read(place.database) as log:
        return list(log.events(run=run))


def audit(
    workspace: Path,
    *,
    against: Path | None = None,
    verifier: LogVerifier | None = None,
    cosigners: Sequence[Cosigner] = (),
    quorum: Quorum | None = None,
) -> Audited:
    """Check the log's chain, the trust documents, every artefact that the log binds and all that people signed.

    The log must go on from every checkpoint that the workspace keeps, and from those in the file `against`, which was
    kept elsewhere: one, or a witness's series. `verifier` is the log's key as the reader knows it; by default the keys
    count that the log names. Each of `cosigners` must have cosigned the newest of them, and as many as `quorum` asks
    for. Raises IntegrityError naming the first event or artefact that is not what it was.
    """
    place = Workspace.open(workspace)
    refuse_lost_log(place)
    with Log.read(place.database) as log:
        head = log.verify()
        named = _hold_against(log, head, against, [verifier] if verifier else log_verifiers(log)) if against else None
        seen = cosigned_by(named, cosigners, quorum) if named else {}
        kept = check_kept(place, log, head.tree)
        history = History(log.events())
        artefacts, reports, reviews = check_trust(place, history), 0, 0
        trusting = in_force(place.root, history)
        runs = logged_runs(place, log)
        for run in runs:
            facts = believed(history, run)
            if run.path(REPORT).is_file():
                if facts.report is None:
                    raise IntegrityError("the log issued no such report", where=str(run.path(REPORT)))
                reports += 1
            artefacts += len(bound_digests(events_of(log, run)))
            reviews += len(facts.of(SIGN_OFF))
            revocation_of(facts.of(REVOCATION), trusting.trust if trusting else None)
        artefacts += check_sweeps(place, log)
    against_tree = named.checkpoint if named else None
    return Audited(head, len(runs), artefacts, reports, reviews, len(kept), against_tree, seen)


def repair(workspace: Path) -> list[str]:
    """Complete what a killed command logged and left half done, and say what that was.

    Only what the log binds is put in place: the newest trust document, and each run's newest report. Raises
    IntegrityError where the log does not hold.
    """
    place = Workspace.existing(workspace)
    done: list[str] = []
    with Log.open(place.database, create=False, trust=place.trust) as log:
        log.verify()
        with FileLock(place.root / ".trust.lock"):
            if repair_trust(place, log):
                done.append("trust.yaml is the document that the log put in force")
        for run in logged_runs(place, log):
            with run.locked():
                if finish_issue(run, events_of(log, run)):
                    done.append(f"the newest report of run {run.id} is in its place")
    return done


def check_sweeps(place: Workspace, log: Log) -> int:
    """Hold every artefact of every sweep against the log, and count them. Raises IntegrityError naming what differs."""
    known = {stored.event.run for stored in log.events(type="sweep.started")}
    for sweep in place.sweeps():
        if sweep.id not in known and sweep.artefacts() - {POLICY}:
            raise IntegrityError(f"sweep {sweep.id} is not in the log", where=str(sweep.root))
    missing = known - {sweep.id for sweep in place.sweeps()}
    if missing:
        raise IntegrityError(
            f"sweep {min(filter(None, missing))} is in the log and its folder is missing",
            where=str(place.root / "sweeps"),
        )
    artefacts = 0
    for sweep in place.sweeps():
        if sweep.id not in known:
            continue
        events = events_of(log, sweep)
        artefacts += check_artefacts(sweep, events)
        if sweep.path(REPORT).is_file():
            if REPORT not in bound_digests(events):
                raise IntegrityError(
                    f"the log does not know of the report of sweep {sweep.id}",
                    where=str(sweep.path(REPORT)),
                    hint="Where the comparison was stopped as it ended, finish it: govern sweep --resume. Otherwise "
                    "the log was cut: restore it from a backup.",
                )
            checked = check_comparison(sweep.path(REPORT), workspace=place.root)
            refuse_lost_event(log, checked.claim.audit, sweep.path(REPORT))
    return artefacts


def find_damage(workspace: Path) -> list[Damage]:
    """All that is wrong with the log's file, its events and the checkpoints that the workspace keeps of it."""
    place = Workspace.open(workspace)
    damage = list(fsck(place.database))
    paths = kept_paths(place)
    if not paths:
        return damage
    try:
        with Log.read(place.database) as log:
            tree, verifiers = log.tree_head(), log_verifiers(log)
            for path in paths:
                try:
                    check_one(path, log, tree, verifiers)
                except IntegrityError as error:
                    damage.append(Damage(path.relative_to(place.root).as_posix(), error.message))
    except IntegrityError as error:
        damage.append(Damage("checkpoints", f"they cannot be held against the log: {error.message}"))
    return damage


def _hold_against(log: Log, head: Head, path: Path, verifiers: list[LogVerifier]) -> KeptCheckpoint:
    series = read_series(path, verifiers)
    for known in series:
        with at(path):
            log.check_prefix(head.tree, known.checkpoint)
    return series[-1]


def cosigned_by(kept: KeptCheckpoint, cosigners: Sequence[Cosigner], quorum: Quorum | None = None) -> dict[str, int]:
    """When each cosigner saw a checkpoint, by its verifier key.

    Raises IntegrityError where one did not, or those of a quorum file are too few.
    """
    with at(kept.path):
        seen = {cosigner.vkey: cosigned_at(kept.note, cosigner) for cosigner in cosigners}
        return seen | (quorum.check(kept.note) if quorum else {})


def refuse_lost_event(log: Log, position: AuditPosition, report: Path) -> None:
    """Raise IntegrityError where the log no longer holds the event that a signed report stands on."""
    head = log.head()
    held = log.event(position.seq) if head and position.seq <= head.event.seq else None
    if held is None or held.leaf != position.leaf:
        raise IntegrityError(
            f"the report stands on event {position.seq} with leaf sha256:{position.leaf}, and the log "
            + ("ends before it" if held is None else f"has sha256:{held.leaf} there"),
            where=str(report),
            hint="The log was cut or replaced after the report was issued. Restore it from a backup.",
        )
