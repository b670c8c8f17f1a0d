"""`govern trust`: who may sign what, kept as a series of documents that a root key signs.

`trust.yaml` is the one in force. `trust/NNN/` keeps each document of the series with its signature and the root's
public key. A change is logged before it comes into force.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, UsageError
from govern.evidence.history import History
from govern.evidence.names import BY_NEW, BY_OLD, NEW_KEY, OLD_KEY, ROOT_KEY, TRUST_BUNDLE
from govern.evidence.trusting import Trusting, believe_trust
from govern.records import Trust, TrustEntry, same_person
from govern.records.told import TrustChanged, told
from govern.signing import PublicKey, SigningKey
from govern.signing.trust_document import (
    TRUST_FILE,
    sign_rotation,
    sign_trust,
    write_trust,
)
from govern.workflow.runs import read_history
from govern.workspace import Workspace, write_atomic


def in_force(workspace: Path, history: History | None = None) -> Trusting | None:
    """The trust document that the log put in force last, with its whole series checked; None where there is none.

    Raises IntegrityError where trust.yaml is another one, or a document, a signature or a rotation does not hold.
    """
    place = Workspace(workspace)
    history = history or read_history(place)
    if history is None:
        if place.trust.exists():
            raise IntegrityError(
                "the audit log is missing, and a trust document is there",
                where=str(place.trust),
                hint="Only the log says which document is in force. Restore it from a backup.",
            )
        return None
    trusting = believe_trust(history, lambda name: _read(place.root / name), within=f"{place.root}/")
    found = sha256_file(place.trust) if place.trust.exists() else None
    if found == (trusting.sha256 if trusting else None):
        return trusting
    if trusting is None:
        raise IntegrityError("trust.yaml is not in the log", where=str(place.trust))
    known = {stored.event.digests.get(TRUST_FILE) for stored in history.all("trust.changed")}
    raise IntegrityError(
        f"trust.yaml is not the document that the log put in force, number {trusting.trust.serial}"
        if found is None or found in known
        else f"trust.yaml was changed: the log knows it as sha256:{trusting.sha256}, it is sha256:{found}",
        where=str(place.trust),
        hint="A change was stopped half-way, or another file was put back. Put the one of the log in its place: "
        "govern audit repair",
    )


def init_trust(workspace: Path, *, root: SigningKey) -> Trusting:
    """Begin the series with nobody in it. Raises UsageError where there is one."""
    place = Workspace.open(workspace)
    with _changing(place) as log:
        if in_force(workspace):
            raise UsageError(
                "this workspace has a trust document", where=str(place.trust), hint="See: govern trust show"
            )
        trust = Trust(serial=1, previous=None, issued=now(), root=root.public.fingerprint, keys=())
        return _publish(place, log, trust, root, change=TrustChanged(serial=1, change="init"))


def add_key(
    workspace: Path,
    key: PublicKey,
    *,
    person: str,
    role: str,
    root: SigningKey,
    valid_from: str | None = None,
    valid_to: str | None = None,
) -> Trusting:
    """Let a person's key sign, from now on by default. Raises UsageError where the key is known already."""
    place = Workspace.open(workspace)
    with _changing(place) as log:
        current = _current(workspace)
        if current.trust.entry(key.fingerprint):
            raise UsageError("this key is in the trust document already", where=f"key {key.fingerprint}")
        for known in {entry.person for entry in current.trust.keys} - {person}:
            if same_person(known, person):
                raise UsageError(
                    f"this name could be taken for {known}, who is in the trust document already",
                    where="person",
                    hint="Write it in the same letters where it is the same person, else tell the two apart.",
                )
        try:
            entry = TrustEntry(
                fingerprint=key.fingerprint,
                person=person,
                role=role,
                valid_from=valid_from or now(),
                valid_to=valid_to,
                revoked_at=None,
            )
        except ValidationError as error:
            finding = error.errors(include_input=False, include_url=False)[0]
            field = str(finding["loc"][0]) if finding["loc"] else "valid_to"
            raise UsageError(finding["msg"].removeprefix("Value error, "), where=field) from None
        trust = _next(current, (*current.trust.keys, entry))
        change = TrustChanged(serial=trust.serial, change="add", fingerprint=key.fingerprint)
        return _publish(place, log, trust, root, change=change)


def revoke_key(workspace: Path, fingerprint: str, *, root: SigningKey, since: str | None = None) -> Trusting:
    """End a key; signatures made with it at `since` or later, now by default, no longer count.

    `fingerprint` may be shortened as long as it names one key. Raises UsageError where it does not.
    """
    place = Workspace.open(workspace)
    with _changing(place) as log:
        current = _current(workspace)
        start = fingerprint.removeprefix("sha256:")
        named = [entry for entry in current.trust.keys if entry.fingerprint.startswith(start)]
        if len(named) != 1:
            raise UsageError(
                f"{len(named)} keys of the trust document begin with {fingerprint!r}", hint="See: govern trust show"
            )
        if named[0].revoked_at is not None and named[0].revoked_at <= (since or now()):
            raise UsageError(f"this key is revoked since {named[0].revoked_at}", where=f"key {named[0].fingerprint}")
        revoked = named[0].model_copy(update={"revoked_at": since or now()})
        keys = tuple(revoked if entry == named[0] else entry for entry in current.trust.keys)
        trust = _next(current, keys)
        change = TrustChanged(
            serial=trust.serial, change="revoke", fingerprint=revoked.fingerprint, since=revoked.revoked_at
        )
        return _publish(place, log, trust, root, change=change)


def rotate_key(workspace: Path, *, old: SigningKey, new: SigningKey, root: SigningKey | None = None) -> Trusting:
    """Replace a key by a new one of the same holder: both sign that they agree.

    The old key is the root key, or a person's, and then the root key signs the new document. Raises UsageError where
    the old key is not in force or the new one is known already.
    """
    place = Workspace.open(workspace)
    with _changing(place) as log:
        current, time = _current(workspace), now()
        before, after = old.public.fingerprint, new.public.fingerprint
        if after == current.trust.root or current.trust.entry(after):
            raise UsageError("the new key is in the trust document already", where=f"key {after}")
        if before == current.trust.root:
            trust, root = _next(current, current.trust.keys).model_copy(update={"root": after}), new
        else:
            entry = current.trust.entry(before)
            if entry is None or not entry.holds_at(time):
                raise UsageError("the old key is not one that counts today", where=f"key {before}")
            if root is None:
                raise UsageError("only the root key can put a person's new key into the trust document")
            ended = entry.model_copy(update={"valid_to": time})
            fresh = entry.model_copy(update={"fingerprint": after, "valid_from": time})
            keys = tuple(ended if known == entry else known for known in current.trust.keys)
            trust = _next(current, (*keys, fresh))
        # The copies above were not validated.
        trust = Trust.parse(trust.canonical())
        by_old, by_new = sign_rotation(write_trust(trust), old=old, new=new, time=time)
        return _publish(
            place,
            log,
            trust,
            root,
            change=TrustChanged(serial=trust.serial, change="rotate", old=before, new=after),
            files={OLD_KEY: old.public.pem, NEW_KEY: new.public.pem, BY_OLD: by_old, BY_NEW: by_new},
        )


def check_trust(place: Workspace, history: History) -> int:
    """Hold the series against the log, and count its files. Raises IntegrityError naming what differs."""
    bound: dict[str, str] = {}
    for stored in history.all("trust.changed"):
        bound |= stored.event.digests
    in_force(place.root, history)
    for name, expected in bound.items():
        found = sha256_bytes(_read(place.root / name))
        if found != expected:
            raise IntegrityError(
                f"{name} was changed: the log knows it as sha256:{expected}, it is sha256:{found}",
                where=str(place.root / name),
                hint="Restore it from a backup. Treat every sign-off as unproven until then.",
            )
    return len(bound)


def repair_trust(place: Workspace, log: Log) -> bool:
    """Put the trust document in force that the log names last, and say whether another one was there."""
    logged = [stored.event for stored in log.events(type="trust.changed")]
    if not logged or (place.trust.exists() and sha256_file(place.trust) == logged[-1].digests[TRUST_FILE]):
        return False
    document = _read(_folder(place, told(logged[-1], TrustChanged).serial) / TRUST_FILE)
    if sha256_bytes(document) != logged[-1].digests[TRUST_FILE]:
        return False
    write_atomic(place.trust, document)
    return True


def _current(workspace: Path) -> Trusting:
    found = in_force(workspace)
    if found is None:
        raise UsageError(
            "this workspace has no trust document", where=str(workspace), hint="Begin one: govern trust init"
        )
    return found


def _next(current: Trusting, keys: tuple[TrustEntry, ...]) -> Trust:
    return Trust(
        serial=current.trust.serial + 1, previous=current.sha256, issued=now(), root=current.trust.root, keys=keys
    )


def _publish(
    place: Workspace,
    log: Log,
    trust: Trust,
    root: SigningKey,
    *,
    change: TrustChanged,
    files: Mapping[str, bytes] | None = None,
) -> Trusting:
    """Sign a document, keep it in the series, log it, and put it in force: in this order."""
    if root.public.fingerprint != trust.root:
        raise UsageError(
            "this is not the root key of the trust document",
            where=f"key {root.public.fingerprint}",
            hint=f"The root key is sha256:{trust.root}.",
        )
    document = write_trust(trust)
    folder = _folder(place, trust.serial)
    # What a killed change left behind was never logged.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    artefacts = {
        TRUST_FILE: document,
        TRUST_BUNDLE: sign_trust(document, root),
        ROOT_KEY: root.public.pem,
        **(files or {}),
    }
    for name, data in artefacts.items():
        write_atomic(folder / name, data)
    digests = {f"trust/{folder.name}/{name}": sha256_bytes(data) for name, data in artefacts.items()}
    log.append(
        "trust.changed",
        actor=root.public.fingerprint,
        digests={**digests, TRUST_FILE: sha256_bytes(document)},
        parameters=change.to_json(),
    )
    write_atomic(place.trust, document)
    return Trusting(trust, sha256_bytes(document), root.public, {})


@contextmanager
def _changing(place: Workspace) -> Iterator[Log]:
    """One change at a time. A change that was logged and then killed comes into force first."""
    with FileLock(place.root / ".trust.lock"), Log.open(place.database, trust=place.trust) as log:
        repair_trust(place, log)
        yield log


def _folder(place: Workspace, serial: int) -> Path:
    return place.root / "trust" / f"{serial:03d}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path.name} cannot be read: {error.strerror}", where=str(path)) from None
