"""A signed, expiring exception from one gate. It stands beside a verdict and never changes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from govern.records.act import Act, Reason, Reviewer
from govern.records.base import Record, Sha256
from govern.records.event import Told
from govern.records.person import Name
from govern.records.trust import UtcTime
from govern.records.verdict import LimitKind

Waivable = Literal["fail", "inconclusive"]


class GateName(Record):
    """One gate of a verdict."""

    task: str
    metric: Literal["acc", "acc_norm", "perplexity", "recovery"]
    kind: LimitKind
    attack: str | None = Field(default=None, exclude_if=lambda attack: attack is None)
    """The attack whose recovery is limited, None for all other gates."""

    def __str__(self) -> str:
        return f"{self.task}/{self.metric}/{self.attack or self.kind}"


class WaiverGranted(Told):
    """What `waiver.granted` tells."""

    gate: GateName
    verdict: Waivable
    report: Sha256
    role: Name
    until: UtcTime


class Waiver(Act):
    """One approver's exception from one gate that was not passed."""

    SIGNER = "approver"
    ABOUT = "report"
    TELLS = WaiverGranted

    report: Sha256
    """The SHA-256 of report.html: the exception is for that report alone."""
    gate: GateName
    verdict: Waivable
    until: UtcTime
    reason: Reason
    approver: Reviewer

    @field_validator("until")
    @classmethod
    def _ends_after_it_begins(cls, until: str, info: ValidationInfo) -> str:
        if until <= info.data.get("time", ""):
            raise ValueError("the waiver would end before it begins")
        return until
