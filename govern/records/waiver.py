"""A signed, expiring exception from one gate. It stands beside a verdict and never changes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from govern.records.base import Record, Sha256
from govern.records.event import AuditPosition
from govern.records.signoff import Reviewer, readable
from govern.records.trust import UtcTime
from govern.records.verdict import LimitKind

# A person's own words, and there have to be some.
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=4000, strip_whitespace=True), AfterValidator(readable)
]


class GateName(Record):
    """One gate of a verdict. `attack` names the attack whose recovery is limited, and is None for all other gates."""

    task: str
    metric: Literal["acc", "acc_norm", "perplexity", "recovery"]
    kind: LimitKind
    attack: str | None = Field(default=None, exclude_if=lambda attack: attack is None)

    def __str__(self) -> str:
        return f"{self.task}/{self.metric}/{self.attack or self.kind}"


class Waiver(Record):
    """One approver's exception from one gate that was not passed. `report` is the SHA-256 of report.html.

    It is for that report alone and ends at `until`. `audit` is the last event of the log when the approver signed.
    """

    format_version: Literal[1] = 1
    run: str
    report: Sha256
    gate: GateName
    verdict: Literal["fail", "inconclusive"]
    until: UtcTime
    reason: Reason
    approver: Reviewer
    audit: AuditPosition
    time: UtcTime

    def told(self) -> dict[str, Any]:
        """What the log says of it: all but the person and their words."""
        return {
            "gate": self.gate.to_json(),
            "verdict": self.verdict,
            "report": self.report,
            "role": self.approver.role,
            "until": self.until,
        }

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until <= self.time:
            raise ValueError("the waiver would end before it begins")
        return self
