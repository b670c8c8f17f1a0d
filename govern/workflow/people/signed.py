"""What people signed over a run, read back and held against the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from govern.audit import Log, Stored
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.records import AuditPosition, Event, Reviewer, TrustEntry
from govern.signing import PublicKey, SigningKey, load_public
from govern.workflow.files import REPORT, REPORT_MARKDOWN, STATEMENT
from govern.workflow.log.checkpoints import at
from govern.workflow.people.trust import Trusting, in_force, now
from govern.workflow.runs import check_artefacts, held_run, refuse_revoked, told_by
from govern.workspace import RunFolder, Workspace

# What a person's signature over a report is over: the newest report, and the statement that signs it.
REPORT_FILES: Final = (REPORT, REPORT_MARKDOWN, STATEMENT)


@dataclass(frozen=True)
class Signed:
    """A bundle, the key beside it, and the bundle's path."""

    key: PublicKey
    bundle: bytes
    path: Path


@contextmanager
def open_for_signing(workspace: Path, run_id: str | None) -> Iterator[tuple[Workspace, Log, RunFolder, list[Event]]]:
    """A run, the latest applied one by default, held for one process, with its log and its events, all of it checked.

    Raises IntegrityError where the log or an artefact of the run is not what it was, UsageError where it is revoked.
    """
    with held_run(workspace, run_id) as (place, log, run, events):
        check_artefacts(run, events)
        refuse_revoked(run, events)
        yield place, log, run, events


def read_signed(run: RunFolder, stored: Stored, *, bundle: str, key: str) -> Signed:
    """The two files that an event binds, by their names. Raises IntegrityError."""
    paths = {Path(name).name: name for name in stored.event.digests}
    with told_by(stored.event):
        signature, signer = paths[bundle], paths[key]
    path = run.path(signature)
    with at(path):
        return Signed(load_public(run.read(signer)), run.read(signature), path)


def write_signed(
    run: RunFolder, events: list[Event], series: str, artefacts: dict[str, bytes]
) -> tuple[str, dict[str, str]]:
    """Write signed files to the folder of a series that follows the last one the log knows.

    What a killed command left there is bound by no event and written over: a pack's numbers must have no gap.
    Returns the folder, and the digests for the log.
    """
    known = {Path(name).parent for event in events for name in event.digests if name.startswith(f"{series}/")}
    folder = f"{series}/{len(known) + 1:03d}"
    for name, data in artefacts.items():
        run.write(f"{folder}/{name}", data)
    return folder, {f"{folder}/{name}": sha256_bytes(data) for name, data in artefacts.items()}


def report_files(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of each file of the newest report that people sign over."""
    return {name: sha256_bytes(run.read(name)) for name in REPORT_FILES}


def issued_files(log: Log, run: RunFolder, report: str, audit: AuditPosition) -> dict[str, str]:
    """The same of the report with that SHA-256, as the log knew it at `audit`. Raises IntegrityError."""
    for issued in log.events(run=run.id, type="report.issued"):
        if issued.event.digests[REPORT] == report and issued.event.seq <= audit.seq:
            return {name: issued.event.digests[name] for name in REPORT_FILES}
    raise IntegrityError("the signature is over a report that this run never issued")


def head_of(log: Log) -> AuditPosition:
    """Where a log stands that was checked, and so has events."""
    head = log.head()
    assert head is not None  # noqa: S101 - a log that checked out has events
    return AuditPosition(origin=head.event.origin, seq=head.event.seq, leaf=head.leaf)


def check_position(log: Log, event: Event, audit: AuditPosition) -> None:
    """Raise IntegrityError where what somebody signed before `event` stands on an event that the log does not have."""
    stands_on = log.event(audit.seq) if audit.seq < event.seq else None
    if stands_on is None or (stands_on.event.origin, stands_on.leaf) != (audit.origin, audit.leaf):
        raise IntegrityError(
            f"the signature stands on event {audit.seq} with leaf sha256:{audit.leaf}, which the log does not have",
            hint="The log was cut or replaced after it was signed. Restore it from a backup.",
        )


def vouched(place: Workspace, key: SigningKey) -> tuple[Trusting, TrustEntry]:
    """Who holds a key today, by the trust document. Raises UsageError where nobody says."""
    trusting, fingerprint = in_force(place.root), key.public.fingerprint
    entry = trusting.trust.entry(fingerprint) if trusting else None
    if trusting is None or entry is None or not entry.holds_at(now()):
        raise UsageError(
            "nobody vouches for this key, so its signature would not count",
            where=f"key {fingerprint}",
            hint="The holder of the root key adds it: govern trust add KEY.pub --person NAME --role ROLE",
        )
    return trusting, entry


def person(entry: TrustEntry) -> Reviewer:
    """Somebody as what they sign names them."""
    return Reviewer(person=entry.person, role=entry.role)


def logged_at(time: str) -> str:
    """An event's time, to the second."""
    return f"{time[:19]}Z"
