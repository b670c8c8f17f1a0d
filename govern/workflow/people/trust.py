"""`govern trust`: who may sign what, kept as a series of documents that a root key signs.

`trust.yaml` is the one in force. `trust/NNN/` keeps each document of the series with its signature and the root's
public key. A change is logged before it comes into force.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from filelock import FileLock
from pydantic import ValidationError

from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, UsageError, at
from govern.evidence.names import ROOT_KEY, TRUST_BUNDLE
from govern.records import Trust, TrustEntry
from govern.records.told import TrustChanged, told
from govern.signing import PublicKey, SigningKey, load_public
from govern.signing.trust_document import (
    TRUST_FILE,
    read_trust,
    sign_rotation,
    sign_trust,
    verify_rotation,
    verify_trust,
    write_trust,
)
from govern.workspace import Workspace, write_atomic

OLD_KEY: Final = "old.pub"
NEW_KEY: Final = "new.pub"
BY_OLD: Final = "rotation.old.sigstore.json"
BY_NEW: Final = "rotation.new.sigstore.json"


@dataclass(frozen=True)
class Trusting:
    """A trust document as it is signed. `sha256` is over the file."""

    trust: Trust
    sha256: str
    root: PublicKey


def in_force(workspace: Path) -> Trusting | None:
    """The trust document in force with its whole series checked, or None where the workspace has none.

    Raises IntegrityError where a document, a signature or a rotation of the series does not hold.
    """
    place = Workspace(workspace)
    if not place.trust.exists():
        if (place.root / "trust").exists():
            raise IntegrityError("trust.yaml is missing, yet the folder trust has a series", where=str(place.trust))
        return None
    with at(place.trust):
        serial = read_trust(_read(place.trust)).serial
    series = [_read_member(place, number) for number in range(1, serial + 1)]
    for earlier, later in pairwise(series):
        _check_step(place, earlier, later)
    if sha256_file(place.trust) != series[-1].sha256:
        raise IntegrityError(
            f"trust.yaml is not document {serial} of its series",
            where=str(place.trust),
            hint=f"Compare it with {_folder(place, serial) / TRUST_FILE}.",
        )
    return series[-1]


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


def check_trust(place: Workspace, log: Log) -> int:
    """Hold the series against the log, and count its files. Raises IntegrityError naming what differs."""
    bound: dict[str, str] = {}
    for stored in log.events(type="trust.changed"):
        bound |= stored.event.digests
    for name, expected in bound.items():
        found = sha256_bytes(_read(place.root / name))
        if found != expected:
            raise IntegrityError(
                f"{name} was changed: the log knows it as sha256:{expected}, it is sha256:{found}",
                where=str(place.root / name),
                hint="Restore it from a backup. Treat every sign-off as unproven until then.",
            )
    current = in_force(place.root)
    if (current.sha256 if current else None) != bound.get(TRUST_FILE):
        raise IntegrityError("trust.yaml is not in the log", where=str(place.trust))
    return len(bound)


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
    return Trusting(trust, sha256_bytes(document), root.public)


def _read_member(place: Workspace, serial: int) -> Trusting:
    folder = _folder(place, serial)
    with at(folder):
        document, root = _read(folder / TRUST_FILE), load_public(_read(folder / ROOT_KEY))
        trust = verify_trust(document, _read(folder / TRUST_BUNDLE), root)
    if trust.serial != serial:
        raise IntegrityError(f"this is document {trust.serial} of the series", where=str(folder))
    return Trusting(trust, sha256_bytes(document), root)


def _check_step(place: Workspace, earlier: Trusting, later: Trusting) -> None:
    folder = _folder(place, later.trust.serial)
    if later.trust.previous != earlier.sha256:
        raise IntegrityError("this trust document does not follow the one before it", where=str(folder))
    kept = {entry.fingerprint for entry in later.trust.keys}
    if not kept >= {entry.fingerprint for entry in earlier.trust.keys}:
        raise IntegrityError("a key was taken out of the trust document instead of being ended", where=str(folder))
    rotated = (folder / BY_OLD).exists()
    if later.root != earlier.root and not rotated:
        raise IntegrityError("the root key changed, and the old one did not agree", where=str(folder))
    if rotated:
        old, new = (load_public(_read(folder / name)) for name in (OLD_KEY, NEW_KEY))
        bundles = _read(folder / BY_OLD), _read(folder / BY_NEW)
        verify_rotation(_read(folder / TRUST_FILE), bundles, old=old, new=new)
        if later.root != earlier.root and (old, new) != (earlier.root, later.root):
            raise IntegrityError("the rotation is not between the two root keys", where=str(folder))


@contextmanager
def _changing(place: Workspace) -> Iterator[Log]:
    """One change at a time. A change that was logged and then killed comes into force first."""
    with FileLock(place.root / ".trust.lock"), Log.open(place.database, trust=place.trust) as log:
        logged = [stored.event for stored in log.events(type="trust.changed")]
        if logged and not (place.trust.exists() and sha256_file(place.trust) == logged[-1].digests[TRUST_FILE]):
            document = _read(_folder(place, told(logged[-1], TrustChanged).serial) / TRUST_FILE)
            if sha256_bytes(document) == logged[-1].digests[TRUST_FILE]:
                write_atomic(place.trust, document)
        yield log


def _folder(place: Workspace, serial: int) -> Path:
    return place.root / "trust" / f"{serial:03d}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path.name} cannot be read: {error.strerror}", where=str(path)) from None
