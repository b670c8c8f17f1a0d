"""What people sign over a run: made, logged, read back and held against the log in one way, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes
from govern.errors import UsageError
from govern.evidence.claims import RunFacts
from govern.evidence.history import History
from govern.evidence.trusting import Trusting
from govern.records import Act, Reviewer, TrustEntry
from govern.signing import SigningKey
from govern.signing.acts import ActKind, Signed, sign_act
from govern.workflow.people.trust import in_force
from govern.workflow.runs import believed, check_artefacts, held_run, refuse_revoked
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
    history: History
    key: SigningKey

    def facts(self) -> RunFacts:
        """All that is believed of the run."""
        return believed(self.history, self.run)

    def vouched(self) -> tuple[Trusting, TrustEntry]:
        """Who holds the key today, by the trust document. Raises UsageError where nobody says."""
        trusting, fingerprint = in_force(self.place.root, self.history), self.key.public.fingerprint
        entry = trusting.trust.entry(fingerprint) if trusting else None
        if trusting is None or entry is None or not entry.holds_at(now()):
            raise UsageError(
                "nobody vouches for this key, so its signature would not count",
                where=f"key {fingerprint}",
                hint="The holder of the root key adds it: govern trust add KEY.pub --person NAME --role ROLE",
            )
        return trusting, entry

    def draft(self, kind: ActKind[A], **said: Any) -> A:
        """An act of now, over the log as it stands. Raises UsageError naming the field that cannot be said."""
        try:
            return kind.record(run=self.run.id, audit=self.log.position(), time=now(), **said)
        except ValidationError as error:
            finding = error.errors(include_input=False)[0]
            raise UsageError(
                finding["msg"].removeprefix("Value error, "), where=".".join(map(str, finding["loc"]))
            ) from None

    def sign(self, kind: ActKind[A], act: A, files: Mapping[str, str], *, model_before: str | None = None) -> Acted[A]:
        """Sign an act over these files (name → SHA-256), keep it and log it.

        Its folder follows the last one that the log knows. What a killed command left there is bound by no event and
        written over: a pack's numbers must have no gap.
        """
        bound = {name for stored in self.history.of(self.run.id) for name in stored.event.digests}
        known = {Path(name).parent for name in bound if name.startswith(f"{kind.series}/")}
        folder = f"{kind.series}/{len(known) + 1:03d}"
        artefacts = {
            f"{folder}/{kind.bundle}": sign_act(kind, act, files, self.key),
            f"{folder}/{kind.key}": self.key.public.pem,
        }
        for name, data in artefacts.items():
            self.run.write(name, data)
        applied = self.history.of(self.run.id, "apply.finished")[0].event
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
        yield Desk(place, log, run, History(log.events()), key)


def read_acts(log: Log, run: RunFolder, kind: ActKind[A], *, before: int | None = None) -> tuple[Signed[A], ...]:
    """Every act of a kind over a run, oldest first, each held against the log; those before the event `before`.

    Raises IntegrityError.
    """
    return believed(History(log.events()), run).of(kind, before=before)


def person(entry: TrustEntry) -> Reviewer:
    """Somebody as what they sign names them."""
    return Reviewer(person=entry.person, role=entry.role)
