"""The end of a removal: signed, and for ever."""

from __future__ import annotations

from typing import Any, Literal

from govern.records.base import Record, Sha256
from govern.records.event import AuditPosition
from govern.records.signoff import Reviewer
from govern.records.trust import UtcTime
from govern.records.waiver import Reason


class Revocation(Record):
    """Somebody's word that a removal must not be relied on. `person` is who, as the trust document knew them.

    `audit` is the last event of the log when they signed.
    """

    format_version: Literal[1] = 1
    run: str
    delta_sha256: Sha256
    model_after: Sha256
    reason: Reason
    person: Reviewer
    audit: AuditPosition
    time: UtcTime

    def told(self) -> dict[str, Any]:
        """What the log says of it: all but the person and their words."""
        return {"delta_sha256": self.delta_sha256, "role": self.person.role}
