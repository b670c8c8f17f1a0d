"""Checking an evidence pack with what lies in it, and a key that the reader knows from elsewhere.

Every file is held against something that is signed or hashed elsewhere in the pack, so that a change of any one of them
is found and named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from govern.audit.body import Stored, leaf_hash, parse_event
from govern.audit.checkpoint import Checkpoint, LogVerifier, open_checkpoint, parse_vkey
from govern.audit.proof import parse_proof, verify_proof
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError, at
from govern.evidence import names
from govern.evidence.claims import VerdictFile, check_act, check_claim, revocation_of
from govern.evidence.pack import verify_page
from govern.evidence.statements import edit_statements
from govern.records import (
    Act,
    Event,
    EventType,
    Plan,
    Record,
    Removal,
    Revocation,
    SignOff,
    Trust,
    Verdict,
    Waiver,
)
from govern.records.told import KeyGenerated, told
from govern.signing import PublicKey, ReportPredicate, load_public, parse_statement, report_predicate, verify
from govern.signing.acts import ActKind, Signed, verify_act
from govern.signing.model_signature import WHOLE, verify_model
from govern.signing.reviews import SIGN_OFF, Standing, standing
from govern.signing.statement import parse_canonical
from govern.signing.trust_document import verify_trust
from govern.signing.waivers import REVOCATION, WAIVER, WaiverState, waiver_state

MOST_BYTES: Final = 64 << 20
MOST_FILES: Final = 2000

A = TypeVar("A", bound=Act)
R = TypeVar("R", bound=Record)

_PEOPLE = re.compile(rf"({'|'.join(names.PEOPLE_FILES)})/(\d{{3}})/([a-z.]+(?:json|pub|tlog-proof))")


@dataclass(frozen=True)
class CheckedPack:
    """A pack whose files all belong together. `signer` is the report's, `person` whose key it is by the trust document.

    `root_known` says whether the reader named the root key, and it is this one; without it, names are the pack's own
    word. The verification holds until `valid_until` (None: no end), and is `stale` from then on. `log_known` says of
    the log's key, which signed the `checkpoint` that holds every event of the pack, what `root_known` says of the root.
    """

    claim: ReportPredicate
    plan: Plan
    signer: PublicKey
    person: str | None
    trust: Trust | None
    root_known: bool
    reviews: tuple[Signed[SignOff], ...]
    standing: Standing | None
    waivers: tuple[tuple[Signed[Waiver], WaiverState], ...]
    revoked: Signed[Revocation] | None
    valid_until: str | None
    stale: bool
    checkpoint: Checkpoint
    log_known: bool
    files: int


@dataclass(frozen=True)
class _Pack:
    files: dict[str, bytes]

    def __getitem__(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError:
            raise IntegrityError(f"{name} is missing from the pack", where=name) from None

    def sha256(self, name: str) -> str:
        return sha256_bytes(self[name])


def verify_pack(
    folder: Path, *, now: str, root: PublicKey | None = None, log_key: LogVerifier | None = None
) -> CheckedPack:
    """Check every file of a pack. `root` and `log_key` are keys that the reader knows from elsewhere.

    `now` (`UtcTime`) is when open sign-offs are judged. Raises UsageError where there is no pack, IntegrityError naming
    the file that is missing, left over or not what it must be.
    """
    pack = _read(folder)
    claim, signer = _check_report(pack)
    plan, removal, verdict = _check_records(pack, claim)
    _check_edit(pack, signer, plan, removal, verdict)
    issued = _check_events(pack, claim, signer, verdict)
    trust = _check_trust(pack, issued, root)
    reviews = _check_acts(pack, SIGN_OFF, claim, issued)
    waivers = _check_acts(pack, WAIVER, claim, issued)
    revocations = _check_acts(pack, REVOCATION, claim, issued)
    if len(revocations) > 1:
        raise IntegrityError("a removal is revoked once", where=f"{REVOCATION.series}/002")
    checkpoint = _check_proofs(pack, issued.origin, log_key)
    if pack[names.VERIFY] != verify_page(pack.files):
        raise IntegrityError(
            "VERIFY.md does not list exactly the files of this pack",
            where=names.VERIFY,
            hint="A file was added or taken out, or the page was changed. Ask for the pack again.",
        )
    entry = trust.entry(signer.fingerprint) if trust else None
    until = plan.valid_until(parse_event(pack[names.VERIFIED_EVENT]).time)
    return CheckedPack(
        claim=claim,
        plan=plan,
        signer=signer,
        person=entry.person if entry and entry.holds_at(claim.issued) else None,
        trust=trust,
        root_known=root is not None,
        reviews=reviews,
        standing=standing(
            reviews,
            report=pack.sha256(names.REPORT),
            verdict=claim.verdict,
            required=plan.reviews_required,
            roles=plan.review_roles,
            issuer=signer.fingerprint,
            trust=trust,
            now=now,
        )
        if trust
        else None,
        waivers=tuple(
            (
                waived,
                waiver_state(waived, report=pack.sha256(names.REPORT), issuer=signer.fingerprint, trust=trust, now=now),
            )
            for waived in waivers
        ),
        revoked=revocation_of(revocations, trust),
        valid_until=until,
        stale=until is not None and until <= now,
        checkpoint=checkpoint,
        log_known=log_key is not None,
        files=len(pack.files),
    )


def _read(folder: Path) -> _Pack:
    """Every file of the folder by its name in it. Links, odd names and what no pack holds are refused unread."""
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), hint="Name the folder that holds VERIFY.md.")
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file() or not _known(name) or len(files) == MOST_FILES:
            raise IntegrityError("this does not belong into a pack", where=name[:200])
        if path.stat().st_size > MOST_BYTES:
            raise IntegrityError("this file is larger than any of a pack", where=name)
        files[name] = path.read_bytes()
    pack = _Pack(files)
    optional = names.TRUST_FILES if names.TRUST in files else ()
    for name in (*names.RUN_FILES, *optional, *names.LOG_FILES, names.VERIFY):
        _ = pack[name]
    return pack


def _known(name: str) -> bool:
    said = _PEOPLE.fullmatch(name)
    if said:
        return said[3] in (*names.PEOPLE_FILES[said[1]], names.proof_of(names.ISSUED_EVENT))
    events = (names.APPLIED_EVENT, names.VERIFIED_EVENT, names.ISSUED_EVENT, names.TRUST_EVENT, names.LOG_EVENT)
    known = (*names.RUN_FILES, *names.TRUST_FILES, *names.LOG_FILES, names.VERIFY)
    return name in known or name in {names.proof_of(event) for event in events}


def _check_report(pack: _Pack) -> tuple[ReportPredicate, PublicKey]:
    with at(names.SIGNER):
        signer = _key(pack[names.SIGNER])
    with at(names.REPORT_BUNDLE):
        payload = verify(pack[names.REPORT_BUNDLE], signer)
    with at(names.STATEMENT):
        if payload != pack[names.STATEMENT]:
            raise IntegrityError("the statement is not the one that was signed")
        statement = parse_statement(payload)
        claim = report_predicate(statement)
        if claim.signer.fingerprint != signer.fingerprint:
            raise IntegrityError("the statement names another signer")
        subjects = {subject.name: subject.digests.sha256 for subject in statement.subject}
        if set(subjects) != {names.REPORT, names.REPORT_MARKDOWN}:
            raise IntegrityError("the statement is not about report.html and report.md")
    for name, expected in subjects.items():
        _same(name, pack.sha256(name), expected, "the signed statement")
    return claim, signer


def _check_records(pack: _Pack, claim: ReportPredicate) -> tuple[Plan, Removal, Verdict]:
    _same(names.PLAN, pack.sha256(names.PLAN), claim.plan_digest, "the signed statement")
    _same(names.VERDICT, pack.sha256(names.VERDICT), claim.verdict_digest, "the signed statement")
    plan = _record(pack, names.PLAN, Plan)
    _same(names.POLICY, pack.sha256(names.POLICY), plan.policy_sha256, "the plan")
    removal, verdict = _record(pack, names.REMOVAL, Removal), _record(pack, names.VERDICT, Verdict)
    for name, found, expected in (
        (names.PLAN, plan.policy_digest, claim.policy_digest),
        (names.PLAN, plan.model.digest, claim.model_before),
        (names.REMOVAL, removal.run, claim.run),
        (names.REMOVAL, removal.plan_digest, claim.plan_digest),
        (names.REMOVAL, removal.delta_sha256, claim.delta_sha256),
        (names.REMOVAL, removal.base_model_digest, claim.model_before),
        (names.REMOVAL, removal.edited_model_digest, claim.model_after),
        (names.VERDICT, verdict.run, claim.run),
        (names.VERDICT, verdict.delta_sha256, claim.delta_sha256),
        (names.VERDICT, verdict.verdict, claim.verdict),
    ):
        _same(name, found, expected, "the signed statement")
    return plan, removal, verdict


def _check_edit(pack: _Pack, signer: PublicKey, plan: Plan, removal: Removal, verdict: Verdict) -> None:
    for name, expected in edit_statements(plan, removal, verdict).items():
        with at(name):
            if verify(pack[name], signer) != expected:
                raise IntegrityError("it does not say what follows from plan.json, removal.json and verdict.json")
    with at(names.MODEL_SIGNATURE):
        if verify_model(pack[names.MODEL_SIGNATURE], signer) != {WHOLE: removal.delta_sha256}:
            raise IntegrityError("it is over another model than the delta of removal.json")


def _check_events(pack: _Pack, claim: ReportPredicate, signer: PublicKey, verdict: Verdict) -> Event:
    """The three events of the run, in their order, and that they bind the run's files. Returns the report's."""
    applied = _event(pack, names.APPLIED_EVENT, "apply.finished", claim.run)
    verified = _event(pack, names.VERIFIED_EVENT, "verify.finished", claim.run)
    issued = _event(pack, names.ISSUED_EVENT, "report.issued", claim.run)
    for name in (names.POLICY, names.PLAN, names.REMOVAL):
        _same(name, pack.sha256(name), applied.digests.get(name), names.APPLIED_EVENT)
    verdicts = [digest for path, digest in verified.digests.items() if path.endswith(f"/{names.VERDICT}")]
    _same(names.VERDICT, pack.sha256(names.VERDICT), verdicts[0] if len(verdicts) == 1 else None, names.VERIFIED_EVENT)
    for name in names.ISSUED_FILES:
        _same(name, pack.sha256(name), issued.digests.get(name), names.ISSUED_EVENT)
    body = pack[names.VERIFIED_EVENT]
    with at(names.STATEMENT):
        check_claim(
            claim,
            signer,
            applied=applied,
            verified=Stored(verified, body, verified.prev, leaf_hash(body)),
            issued=issued,
            verdict=VerdictFile(verdict.verdict, pack.sha256(names.VERDICT)),
        )
    if not applied.seq < verified.seq < issued.seq or len({applied.origin, verified.origin, issued.origin}) > 1:
        raise IntegrityError("the events are not in the order apply, verify, report", where=names.APPLIED_EVENT)
    return issued


def _check_trust(pack: _Pack, issued: Event, root: PublicKey | None) -> Trust | None:
    if names.TRUST not in pack.files:
        if root is not None or any(name in pack.files for name in names.TRUST_FILES) or issued.trust is not None:
            raise IntegrityError(f"{names.TRUST} is missing from the pack", where=names.TRUST)
        return None
    with at(names.ROOT_KEY):
        key = _key(pack[names.ROOT_KEY])
        if root is not None and key != root:
            raise IntegrityError(
                "the trust document is signed by another root key than yours",
                hint=f"Yours is sha256:{root.fingerprint}.",
            )
    with at(names.TRUST):
        trust = verify_trust(pack[names.TRUST], pack[names.TRUST_BUNDLE], key)
    event = _event(pack, names.TRUST_EVENT, "trust.changed", None)
    _same(names.TRUST_EVENT, event.origin, issued.origin, names.ISSUED_EVENT)
    _same(names.TRUST_EVENT, event.actor, key.fingerprint, names.ROOT_KEY)
    for name in (names.TRUST, names.TRUST_BUNDLE, names.ROOT_KEY):
        path = name if name == names.TRUST else f"trust/{trust.serial:03d}/{name}"
        _same(name, pack.sha256(name), event.digests.get(path), names.TRUST_EVENT)
    # An event names the document in force, so that a later one shows up an older document.
    for later in _events(pack):
        if later.seq > event.seq and later.trust != event.digests.get(names.TRUST):
            raise IntegrityError(
                f"event {later.seq} of this pack was logged under another trust document",
                where=names.TRUST,
                hint="It is an older one. Ask the issuer for the pack again, with the newest.",
            )
    return trust


def _check_acts(pack: _Pack, kind: ActKind[A], claim: ReportPredicate, issued: Event) -> tuple[Signed[A], ...]:
    """Each act of a kind with its event: numbered from 1, in the log's order, bound by the log, key by key."""
    series = kind.series
    numbers = sorted({found[2] for name in pack.files if (found := _PEOPLE.fullmatch(name)) and found[1] == series})
    after, acts = 0, []
    for place, number in enumerate(numbers, 1):
        folder = f"{series}/{number}"
        if number != f"{place:03d}":
            raise IntegrityError(f"the one before it is missing: expected {series}/{place:03d}", where=folder)
        bundle_name, key_name, event_name = (f"{folder}/{name}" for name in names.PEOPLE_FILES[series])
        event = _event(pack, event_name, kind.event, claim.run)
        if event.seq <= after:
            raise IntegrityError(f"the {series} are not in the log's order", where=event_name)
        after = event.seq
        with at(key_name):
            key = _key(pack[key_name])
            _same(key_name, key.fingerprint, event.actor, event_name)
        for name in (bundle_name, key_name):
            _same(name, pack.sha256(name), event.digests.get(name), event_name)
        _same(event_name, event.origin, issued.origin, names.ISSUED_EVENT)
        with at(bundle_name):
            files = _over(pack, verify_act(kind, pack[bundle_name], key), claim, issued)
            act = check_act(kind, pack[bundle_name], key, event, files, issued)
        before = [f"{other.time[:19]}Z" for other in _events(pack) if other.seq <= event.seq]
        acts.append(Signed(act, key.fingerprint, max(before), event.seq))
    return tuple(acts)


def _over(pack: _Pack, act: Act, claim: ReportPredicate, issued: Event) -> dict[str, str] | None:
    """The files that an act must be over: the report's, or the delta. None where it is over an earlier report."""
    if isinstance(act, Revocation):
        return {names.DELTA: claim.delta_sha256}
    if act.about == pack.sha256(names.REPORT):
        return {name: pack.sha256(name) for name in names.REPORT_FILES}
    if act.about in issued.digests.values():
        raise IntegrityError("it takes another file for the report")
    return None


def _check_proofs(pack: _Pack, origin: str, log_key: LogVerifier | None) -> Checkpoint:
    """That the log, as its own key signed it, holds every event of the pack."""
    events = [
        name for name in pack.files if name == names.ISSUED_EVENT or name.endswith((".event.json", "/event.json"))
    ]
    with at(names.LOG_KEY):
        try:
            verifier = parse_vkey(pack[names.LOG_KEY].decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise IntegrityError("this is not text") from None
        if pack[names.LOG_KEY] != f"{verifier.vkey}\n".encode():
            raise IntegrityError("this is not one line with the log's key")
        if log_key is not None and verifier != log_key:
            raise IntegrityError("the log is signed by another key than the one you know")
        _same(names.LOG_KEY, verifier.name, origin, names.ISSUED_EVENT)
    made = _event(pack, names.LOG_EVENT, "key.generated", None)
    _same(names.LOG_KEY, verifier.vkey, told(made, KeyGenerated).vkey, names.LOG_EVENT)
    with at(names.CHECKPOINT):
        note = pack[names.CHECKPOINT]
        checkpoint = open_checkpoint(note, verifier)
        if note.count("\n— ".encode()) != 1:
            raise IntegrityError("it has a signature that nobody here can check")
    for event in events:
        name = names.proof_of(event)
        with at(name):
            if parse_proof(pack[name]).checkpoint != note:
                raise IntegrityError("it leads to another checkpoint")
            verify_proof(pack[name], pack[event], verifier)
            if parse_proof(pack[name]).index != parse_event(pack[event]).seq:
                raise IntegrityError("it is for another place in the log")
    return checkpoint


def _events(pack: _Pack) -> list[Event]:
    """All events of a pack. Raises IntegrityError where one is malformed."""
    found = []
    for name in sorted(pack.files):
        if name == names.ISSUED_EVENT or name.endswith((".event.json", "/event.json")):
            with at(name):
                found.append(_parsed(pack[name]))
    return found


def _parsed(body: bytes) -> Event:
    try:
        return parse_event(body)
    except ValueError as error:
        raise IntegrityError(str(error)) from None


def _event(pack: _Pack, name: str, kind: EventType, run: str | None) -> Event:
    with at(name):
        event = _parsed(pack[name])
    _same(name, event.type, kind, "its name")
    _same(name, event.run, run, "the signed statement")
    return event


def _record(pack: _Pack, name: str, kind: type[R]) -> R:
    with at(name):
        return parse_canonical(kind, pack[name], name)


def _key(pem: bytes) -> PublicKey:
    key = load_public(pem)
    if key.pem != pem:
        raise IntegrityError("the public key is not in the form that govern writes")
    return key


def _same(name: str, found: str | None, expected: str | None, by: str) -> None:
    if found != expected:
        raise IntegrityError(
            f"{name} is not what {by} says: expected {expected}, found {found}",
            where=name,
            hint="It was changed, or it comes from another run. Ask the issuer for the pack again.",
        )
