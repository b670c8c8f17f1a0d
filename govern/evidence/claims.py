"""What is believed of a run: every claim held against what it is about, in the log's order.

Bytes and records go in, facts come out, and an IntegrityError names what does not fit. Whoever says something of a run
asks here (status, site, review, exports, packs and audits), so that none is more credulous than another. Needs no
database, no network and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from govern.audit.body import Stored
from govern.errors import IntegrityError, at
from govern.evidence import names
from govern.evidence.history import FORGED, History, Read, bound, forged
from govern.records import Act, Benchmark, Event, EventType, Record, Revocation, Stress, Trust, Verdict
from govern.records.told import (
    TOLD,
    BenchmarkFinished,
    KeyGenerated,
    ReportIssued,
    ReproduceFinished,
    RunPruned,
    StressFinished,
    VerifyFinished,
    ran_in,
    told,
)
from govern.signing import PublicKey, ReportPredicate, load_public, parse_statement, report_predicate, verify
from govern.signing.acts import ActKind, Signed, verify_act

A = TypeVar("A", bound=Act)
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Believed:
    """A report that is what the log says of it: its claim and key, the event that it stands on, and its own.

    `logged` is when the log took it in.
    """

    claim: ReportPredicate
    key: PublicKey
    verified: Stored
    issued: Stored
    logged: str

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file that people sign over."""
        return {name: self.issued.event.digests[name] for name in names.REPORT_FILES}

    @property
    def sha256(self) -> str:
        """The SHA-256 of report.html."""
        return self.files[names.REPORT]


@dataclass(frozen=True)
class RunFacts:
    """What is believed of a run.

    `report` is its newest one. `unreported` is a newer verification that no report was issued of: until one is, there
    is no verdict. `acts` are all that people signed, by the kind's event.
    """

    run: str
    applied: Stored | None
    report: Believed | None
    unreported: Stored | None
    acts: Mapping[EventType, tuple[Signed[Any], ...]] = field(default_factory=dict)

    def of(self, kind: ActKind[A], *, before: int | None = None) -> tuple[Signed[A], ...]:
        """The acts of a kind, oldest first; those that stand before the event `before`, if it is given."""
        return tuple(signed for signed in self.acts.get(kind.event, ()) if before is None or signed.seq < before)


def believe_run(history: History, run: str, read: Read, *, within: str = "") -> RunFacts:
    """All that is believed of a run. `read` gives its artefacts by name; `within` is where they lie, for errors.

    Raises IntegrityError naming the first event whose claim is not about what it says it is about.
    """
    entries = history.of(run)
    for stored in entries:
        if kind := TOLD.get(stored.event.type):
            told(stored.event, kind)
    applied = _applied(entries)
    if applied is None:
        late = [stored for stored in entries if not stored.event.type.startswith("apply.")]
        if late:
            raise forged(late[0].event, "speaks of a removal that was never finished")
        return RunFacts(run, None, None, None)
    for stored in entries:
        _check_event(stored.event, applied.event, read)
    verified = [stored for stored in entries if stored.event.type == "verify.finished"]
    issued = [stored for stored in entries if stored.event.type == "report.issued"]
    statements = [stored.event.digests.get(names.STATEMENT) for stored in issued]
    for place, stored in enumerate(issued):
        if statements[place] in statements[:place]:
            # A later report would no longer be the newest, nor the one that people signed.
            raise forged(stored.event, "issues a report a second time")
    reports = [_report(history, applied, verified, stored, read, within) for stored in issued]
    newest = reports[-1] if reports else None
    unreported = verified[-1] if verified and (newest is None or verified[-1] != newest.verified) else None
    acts = {kind.event: _acts(history, kind, entries, applied, read, within) for kind in names.KINDS}
    return RunFacts(run, applied, newest, unreported, acts)


def check_claim(
    claim: ReportPredicate, key: PublicKey, *, applied: Event, verified: Stored, issued: Event, verdict: VerdictFile
) -> None:
    """Hold a report's signed claim against the events and the verdict's file that it is about.

    Raises IntegrityError.
    """
    place = (verified.event.origin, verified.event.seq, verified.leaf)
    if place != (claim.audit.origin, claim.audit.seq, claim.audit.leaf):
        raise IntegrityError(
            f"the report stands on event {claim.audit.seq}, and the verification before it is event "
            f"{verified.event.seq}",
            hint="It is an older report, or another run's, under a newer event. Restore the log from a backup.",
        )
    throwaway = told(issued, ReportIssued).throwaway_key
    for what, found, expected in (
        ("run", issued.run, claim.run),
        ("run", verified.event.run, claim.run),
        ("signer", key.fingerprint, claim.signer.fingerprint),
        ("signer", issued.actor, claim.signer.fingerprint),
        ("kind of key", "throwaway" if throwaway else "kept", claim.signer.kind),
        ("verdict", told(issued, ReportIssued).verdict, claim.verdict),
        ("verdict", told(verified.event, VerifyFinished).verdict, claim.verdict),
        ("verdict", verdict.verdict, claim.verdict),
        ("verdict's file", verdict.sha256, claim.verdict_digest),
        ("plan", applied.digests.get(names.PLAN), claim.plan_digest),
        ("delta", applied.digests.get(names.DELTA), claim.delta_sha256),
        *((name, getattr(event, name), getattr(claim, name)) for event in (applied, issued) for name in _MODELS),
    ):
        if found != expected:
            raise IntegrityError(
                f"the report's {what.replace('_', ' ')} is not what the log says: signed was {expected}, found {found}",
                hint="The report is about something else. " + FORGED,
            )


def check_act(
    kind: ActKind[A], bundle: bytes, key: PublicKey, event: Event, files: Mapping[str, str] | None, applied: Event
) -> A:
    """The act that an event took in, over these files. Raises IntegrityError where they do not belong together."""
    act = verify_act(kind, bundle, key)
    verify_act(kind, bundle, key, files)
    said = (event.actor, event.run, event.parameters, event.model_after)
    if said != (key.fingerprint, act.run, act.told().to_json(), applied.model_after):
        raise IntegrityError(f"the {kind.name} is not the one that the log speaks of")
    if act.audit.origin != event.origin or act.audit.seq >= event.seq:
        raise IntegrityError("it stands on an event that cannot have come before it")
    return act


def revocation_of(revoked: Sequence[Signed[Revocation]], trust: Trust | None) -> Signed[Revocation] | None:
    """The revocation of a removal, by somebody whom the trust document knows; None where there is none.

    It stands for ever, also where its key was ended since. Raises IntegrityError where nobody ever vouched for the key.
    """
    for signed in revoked:
        entry, who = trust.entry(signed.fingerprint) if trust else None, signed.act.who
        if entry is None or (entry.person, entry.role) != (who.person, who.role):
            raise IntegrityError(
                f"event {signed.seq} revokes the removal with a key that nobody vouches for",
                where=f"key {signed.fingerprint}",
                hint=FORGED,
            )
    return revoked[0] if revoked else None


def log_keys(history: History) -> list[str]:
    """The verifier keys that a log names as its own, in its order."""
    named = [told(stored.event, KeyGenerated).vkey for stored in history.all("key.generated")]
    return [vkey for vkey in named if vkey is not None]


@dataclass(frozen=True)
class VerdictFile:
    """A stored verdict: what it says, and the digest of its bytes."""

    verdict: str
    sha256: str


_MODELS: Final = ("policy_digest", "model_before", "model_after")


def _applied(entries: list[Stored]) -> Stored | None:
    finished = [stored for stored in entries if stored.event.type == "apply.finished"]
    if len(finished) > 1:
        raise forged(finished[1].event, "finishes a removal for the second time")
    return finished[0] if finished else None


def _check_event(event: Event, applied: Event, read: Read) -> None:
    """Hold what an event tells against the file that it binds and the removal that it speaks of."""
    match event.type:
        case "verify.finished":
            _, verdict = _artefact(event, names.VERDICT, Verdict, read)
            said = told(event, VerifyFinished)
            ran_in(event)
            _agree(
                event,
                (verdict.run, event.run),
                (verdict.plan_digest, applied.digests.get(names.PLAN)),
                (verdict.delta_sha256, applied.digests.get(names.DELTA)),
                (verdict.edited_model_digest, applied.model_after),
                (verdict.verdict, said.verdict),
                (verdict.attempt, said.attempt),
            )
        case "stress.finished":
            _, stress = _artefact(event, names.STRESS, Stress, read)
            _agree(
                event,
                (stress.run, event.run),
                (stress.plan_digest, applied.digests.get(names.PLAN)),
                (stress.edited_model_digest, applied.model_after),
                (stress.verdict, told(event, StressFinished).verdict),
            )
        case "benchmark.finished":
            _, benchmark = _artefact(event, names.BENCHMARK, Benchmark, read)
            said_of = told(event, BenchmarkFinished)
            _agree(
                event,
                (benchmark.run, event.run),
                (benchmark.pack, said_of.pack),
                (benchmark.data_digest, said_of.data_digest),
                ({model.role: model.digest for model in benchmark.models}, said_of.models),
            )
        case "reproduce.finished":
            again = told(event, ReproduceFinished)
            _agree(event, (again.result == "equal", again.delta_sha256 == applied.digests.get(names.DELTA)))
        case "run.pruned":
            for name in told(event, RunPruned).dropped:
                if name != names.DELTA and not name.startswith("inputs/"):
                    raise forged(event, f"drops {name}, which is no weight")
        case _:
            pass
    if event.type.endswith(".finished"):
        _agree(
            event,
            *((getattr(event, name), getattr(applied, name)) for name in _MODELS),
        )


def _report(
    history: History, applied: Stored, verified: list[Stored], issued: Stored, read: Read, within: str
) -> Believed:
    before = [stored for stored in verified if stored.event.seq < issued.event.seq]
    if not before:
        raise forged(issued.event, "issues the report of a verification that never was")
    event = issued.event
    folders = {path.rpartition("/")[0] for path in event.digests if path.endswith(f"/{names.STATEMENT}")}
    # The first reports lay at the top of the run alone.
    folder = f"{folders.pop()}/" if len(folders) == 1 else ""
    with at(f"{within}{folder}{names.STATEMENT}"):
        payload, bundle, pem = (
            bound(event, f"{folder}{name}", read) for name in (names.STATEMENT, names.REPORT_BUNDLE, names.SIGNER)
        )
        key = load_public(pem)
        if verify(bundle, key) != payload:
            raise IntegrityError("the statement is not the one that was signed")
        statement = parse_statement(payload)
        claim = report_predicate(statement)
        for subject in statement.subject:
            for name in {subject.name, f"{folder}{subject.name}"}:
                if event.digests.get(name) != subject.digests.sha256:
                    raise IntegrityError(f"the log binds another {subject.name} than the one that was signed")
        verdict = _verdict(before[-1].event, read)
        check_claim(claim, key, applied=applied.event, verified=before[-1], issued=event, verdict=verdict)
    return Believed(claim, key, before[-1], issued, history.logged(issued))


def _acts(
    history: History, kind: ActKind[A], entries: list[Stored], applied: Stored, read: Read, within: str
) -> tuple[Signed[A], ...]:
    found: list[Signed[A]] = []
    for stored in entries:
        event = stored.event
        if event.type != kind.event:
            continue
        paths = {path.rpartition("/")[2]: path for path in event.digests}
        for name in (kind.bundle, kind.key):
            if name not in paths:
                raise forged(event, f"does not say what {name} is")
        with at(f"{within}{paths[kind.bundle]}"):
            bundle, pem = bound(event, paths[kind.bundle], read), bound(event, paths[kind.key], read)
            key = load_public(pem)
            act = verify_act(kind, bundle, key)
            check_act(kind, bundle, key, event, _files(act, entries, applied.event), applied.event)
            if not history.has(stored, act.audit.seq, act.audit.origin, act.audit.leaf):
                raise IntegrityError(
                    f"the signature stands on event {act.audit.seq} with leaf sha256:{act.audit.leaf}, which the log "
                    "does not have",
                    hint="The log was cut or replaced after it was signed. Restore it from a backup.",
                )
        found.append(Signed(act, key.fingerprint, history.logged(stored), event.seq))
    return tuple(found)


def _files(act: Act, entries: list[Stored], applied: Event) -> dict[str, str]:
    """The files that an act is over, as the log knew them when it was signed."""
    if act.about == applied.digests.get(names.DELTA):
        return {names.DELTA: act.about}
    for stored in entries:
        bound = stored.event.digests
        issued = stored.event.type == "report.issued" and stored.event.seq <= act.audit.seq
        if issued and bound.get(names.REPORT) == act.about:
            return {name: bound[name] for name in names.REPORT_FILES if name in bound}
    raise IntegrityError("the signature is over a report or a delta that this run never had")


def _verdict(event: Event, read: Read) -> VerdictFile:
    digest, verdict = _artefact(event, names.VERDICT, Verdict, read)
    return VerdictFile(verdict.verdict, digest)


def _artefact(event: Event, name: str, kind: type[R], read: Read) -> tuple[str, R]:
    """The one record of this name that an event binds, and its digest."""
    paths = [path for path in event.digests if path.endswith(f"/{name}")]
    if len(paths) != 1:
        raise forged(event, f"does not say what {name} is")
    try:
        return event.digests[paths[0]], kind.parse(bound(event, paths[0], read))
    except ValidationError:
        raise IntegrityError("this is not what its name says", where=f"{event.run}/{paths[0]}") from None


def _agree(event: Event, *pairs: tuple[object, object]) -> None:
    if any(found != expected for found, expected in pairs):
        raise forged(event, "tells something else than the removal and the files that it speaks of")
