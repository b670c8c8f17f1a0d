"""Whose signatures count: the trust document that the log names last, with its whole series checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from govern.errors import IntegrityError, at
from govern.evidence import names
from govern.evidence.history import History, Read, bound, forged
from govern.records import Event, Trust
from govern.records.told import TrustChanged, told
from govern.signing import PublicKey, load_public
from govern.signing.acts import Signed
from govern.signing.trust_document import verify_rotation, verify_trust

_TRUST_FILES: Final = (names.TRUST, names.TRUST_BUNDLE, names.ROOT_KEY)


@dataclass(frozen=True)
class Trusting:
    """The trust document that the log names last, the digest of its file and its root key.

    `since` says at which event each key came into the series: before it, nobody vouched for that key, whatever the
    document says of its time.
    """

    trust: Trust
    sha256: str
    root: PublicKey
    since: Mapping[str, int]

    def vouched(self, signed: Signed[Any]) -> bool:
        """Whether somebody vouched for the key when the log took the act in."""
        return signed.seq > self.since.get(signed.fingerprint, signed.seq)


def believe_trust(history: History, read: Read, *, within: str = "") -> Trusting | None:
    """The newest trust document that the log names, with its whole series checked; None where it names none.

    Raises IntegrityError where a document, a signature or a rotation does not hold, or the log names them out of order.
    """
    changes = history.all("trust.changed")
    earlier: Trusting | None = None
    since: dict[str, int] = {}
    for serial, stored in enumerate(changes, 1):
        event, folder = stored.event, f"trust/{serial:03d}"
        if told(event, TrustChanged).serial != serial or event.run is not None:
            raise forged(event, f"is not document {serial} of the series of trust documents")
        with at(f"{within}{folder}"):
            files = {name: bound(event, f"{folder}/{name}", read) for name in _TRUST_FILES}
            root = load_public(files[names.ROOT_KEY])
            trust = verify_trust(files[names.TRUST], files[names.TRUST_BUNDLE], root)
            for entry in trust.keys:
                since.setdefault(entry.fingerprint, event.seq)
            found = Trusting(trust, event.digests.get(names.TRUST, ""), root, since)
            if (trust.serial, event.actor) != (serial, root.fingerprint):
                raise IntegrityError(f"this is document {trust.serial} of the series")
            if event.digests[f"{folder}/{names.TRUST}"] != found.sha256:
                raise IntegrityError("the log puts another document in force than the one in the series")
            if earlier is not None:
                _check_step(earlier, found, files[names.TRUST], event, folder, read)
        earlier = found
    return earlier


def _check_step(earlier: Trusting, later: Trusting, document: bytes, event: Event, folder: str, read: Read) -> None:
    """That a trust document goes on from the one before it."""
    if later.trust.previous != earlier.sha256:
        raise IntegrityError("this trust document does not follow the one before it")
    if not {entry.fingerprint for entry in later.trust.keys} >= {entry.fingerprint for entry in earlier.trust.keys}:
        raise IntegrityError("a key was taken out of the trust document instead of being ended")
    rotated = f"{folder}/{names.BY_OLD}" in event.digests
    if later.root != earlier.root and not rotated:
        raise IntegrityError("the root key changed, and the old one did not agree")
    if rotated:
        old, new, by_old, by_new = (bound(event, f"{folder}/{name}", read) for name in names.ROTATION_FILES)
        keys = load_public(old), load_public(new)
        verify_rotation(document, (by_old, by_new), old=keys[0], new=keys[1])
        if later.root != earlier.root and keys != (earlier.root, later.root):
            raise IntegrityError("the rotation is not between the two root keys")
