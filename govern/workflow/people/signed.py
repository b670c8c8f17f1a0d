"""What people sign over a run: made, logged, read back and held against the log in one way, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from govern.audit import Log, Stored
from govern.clock import now
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError, at
from govern.evidence.names import DELTA, REPORT, REPORT_FILES
from govern.records import Act, AuditPosition, Event, Reviewer, TrustEntry
from govern.signing import SigningKey, load_public
from govern.signing.acts import Kind, Signed, sign_act, verify_act
from govern.workflow.people.trust import Trusting, in_force
from govern.workflow.runs import check_artefacts, held_run, refuse_revoked
from govern.workspace import RunFolder, Workspace

A = TypeVar("A", bound=Act)


@dataclass(frozen=True)
class Acted(Generic[A]):
    """An act in its folder."""

    run: RunFolder
    path: Path
    act: A


@dataclass(frozen=True)
class Desk:
    """A run that somebody signs over, held for one process, with its log and its events, all of it checked."""

    place: Workspace
    log: Log
    run: RunFolder
    events: list[Event]
    key: SigningKey

    def vouched(self) -> tuple[Trusting, TrustEntry]:
        """Who holds the key today, by the trust document. Raises UsageError where nobody says."""
        trusting, fingerprint = in_force(self.place.root), self.key.public.fingerprint
        entry = trusting.trust.entry(fingerprint) if trusting else None
        if trusting is None or entry is None or not entry.holds_at(now()):
            raise UsageError(
                "nobody vouches for this key, so its signature would not count",
                where=f"key {fingerprint}",
                hint="The holder of the root key adds it: govern trust add KEY.pub --person NAME --role ROLE",
            )
        return trusting, entry

    def draft(self, kind: Kind[A], **said: Any) -> A:
        """An act of now, over the log as it stands. Raises UsageError naming the field that cannot be said."""
        try:
            return kind.record(run=self.run.id, audit=self.log.position(), time=now(), **said)
        except ValidationError as error:
            finding = error.errors(include_input=False)[0]
            raise UsageError(
                finding["msg"].removeprefix("Value error, "), where=".".join(map(str, finding["loc"]))
            ) from None

    def sign(self, kind: Kind[A], act: A, files: Mapping[str, str], *, model_before: str | None = None) -> Acted[A]:
        """Sign an act over these files (name → SHA-256), keep it and log it.

        Its folder follows the last one that the log knows. What a killed command left there is bound by no event and
        written over: a pack's numbers must have no gap.
        """
        known = {
            Path(name).parent for event in self.events for name in event.digests if name.startswith(f"{kind.series}/")
        }
        folder = f"{kind.series}/{len(known) + 1:03d}"
        artefacts = {
            f"{folder}/{kind.bundle}": sign_act(kind, act, files, self.key),
            f"{folder}/{kind.key}": self.key.public.pem,
        }
        for name, data in artefacts.items():
            self.run.write(name, data)
        applied = next(event for event in self.events if event.type == "apply.finished")
        self.log.append(
            kind.event,
            actor=self.key.public.fingerprint,
            run=self.run.id,
            policy_digest=applied.policy_digest,
            model_before=model_before,
            model_after=applied.model_after,
            digests={name: sha256_bytes(data) for name, data in artefacts.items()},
            parameters=act.told().to_json(),
        )
        return Acted(self.run, self.run.path(folder), act)


@contextmanager
def open_for_signing(workspace: Path, run_id: str | None, key: SigningKey) -> Iterator[Desk]:
    """The latest applied run by default, to be signed over.

    Raises IntegrityError where the log or an artefact of the run is not what it was, UsageError where it is revoked.
    """
    with held_run(workspace, run_id) as (place, log, run, events):
        check_artefacts(run, events)
        refuse_revoked(run, events)
        yield Desk(place, log, run, events, key)


def read_acts(log: Log, run: RunFolder, kind: Kind[A], *, before: int | None = None) -> tuple[Signed[A], ...]:
    """Every act of a kind over a run, oldest first, each held against the log; those before the event `before`.

    Raises IntegrityError.
    """
    return tuple(
        _read(log, run, kind, stored)
        for stored in log.events(run=run.id, type=kind.event)
        if before is None or stored.event.seq < before
    )


def _read(log: Log, run: RunFolder, kind: Kind[A], stored: Stored) -> Signed[A]:
    event, paths = stored.event, {Path(name).name: name for name in stored.event.digests}
    for name in (kind.bundle, kind.key):
        if name not in paths:
            raise IntegrityError(
                f"event {event.seq}, {event.type}, does not say what {name} is",
                hint="Somebody else wrote it into the log. Keep the log as evidence, and restore it from a backup.",
            )
    with at(run.path(paths[kind.bundle])):
        key, bundle = load_public(run.read(paths[kind.key])), run.read(paths[kind.bundle])
        act = verify_act(kind, bundle, key)
        applied = next(log.events(run=run.id, type="apply.finished")).event
        verify_act(kind, bundle, key, _files(log, run, act, applied))
        told = (event.actor, event.run, event.parameters, event.model_after)
        if told != (key.fingerprint, act.run, act.told().to_json(), applied.model_after):
            raise IntegrityError(f"the {kind.name} is not the one that the log speaks of")
        _check_position(log, event, act.audit)
    return Signed(act, key.fingerprint, f"{event.time[:19]}Z")


def report_files(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of each file of the newest report that people sign over."""
    return {name: sha256_bytes(run.read(name)) for name in REPORT_FILES}


def person(entry: TrustEntry) -> Reviewer:
    """Somebody as what they sign names them."""
    return Reviewer(person=entry.person, role=entry.role)


def _files(log: Log, run: RunFolder, act: Act, applied: Event) -> dict[str, str]:
    """The files that an act is over, as the log knew them when it was signed. Raises IntegrityError."""
    if act.about == applied.digests[DELTA]:
        return {DELTA: act.about}
    for issued in log.events(run=run.id, type="report.issued"):
        if issued.event.digests[REPORT] == act.about and issued.event.seq <= act.audit.seq:
            return {name: issued.event.digests[name] for name in REPORT_FILES}
    raise IntegrityError("the signature is over a report or a delta that this run never had")


def _check_position(log: Log, event: Event, audit: AuditPosition) -> None:
    """Raise IntegrityError where what somebody signed before `event` stands on an event that the log does not have."""
    stands_on = log.event(audit.seq) if audit.seq < event.seq else None
    if stands_on is None or (stands_on.event.origin, stands_on.leaf) != (audit.origin, audit.leaf):
        raise IntegrityError(
            f"the signature stands on event {audit.seq} with leaf sha256:{audit.leaf}, which the log does not have",
            hint="The log was cut or replaced after it was signed. Restore it from a backup.",
        )
