"""The end of a removal: signed, and for ever."""

from __future__ import annotations

from govern.records.act import Act, Reason, Reviewer
from govern.records.base import Sha256
from govern.records.event import Told
from govern.records.person import Name


class RemovalRevoked(Told):
    """What `removal.revoked` tells."""

    delta_sha256: Sha256
    role: Name


class Revocation(Act):
    """Somebody's word that a removal must not be relied on."""

    SIGNER = "person"
    ABOUT = "delta_sha256"
    TELLS = RemovalRevoked

    delta_sha256: Sha256
    model_after: Sha256
    reason: Reason
    person: Reviewer
