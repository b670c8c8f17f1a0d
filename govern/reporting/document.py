"""The JSON of a run: what the pointers on a report's page point into, and what every export is made from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from govern.records import Plan, Removal, Sweep, Verdict, Verification, Waiver
from govern.records.base import Record
from govern.reporting.facts import Documents
from govern.reporting.text import one_line


class Signer(Record):
    """Whose key signs the report. `fingerprint` is the SHA-256 of the public key's DER form, in hex."""

    fingerprint: str
    throwaway: bool


class FailedRun(Record):
    """An attempt that came to nothing: an earlier run of the policy that failed or that was discarded."""

    run: str
    type: str
    time: str
    message: str | None


class Issue(Record):
    """What the report adds to plan, removal and verdict: who issues it, when, and where the log stood.

    `waivers` are those that had been granted for earlier reports of the run; it is left out of the JSON without any.
    """

    run: str
    # UTC, RFC 3339, as is `valid_until`; None there is no end.
    issued: str
    # The last event of the log before the report was issued.
    audit_origin: str
    audit_seq: int
    audit_leaf: str
    signer: Signer
    failed_runs: tuple[FailedRun, ...]
    # Those of this run, the reported one last.
    verifications: tuple[Verification, ...] = ()
    valid_until: str | None = None
    waivers: tuple[Waiver, ...] = Field(default=(), exclude_if=lambda waivers: not waivers)


class RunDocument(Record):
    """All that a report says of its run, but the policy's text. It holds neither texts nor questions.

    `sweep` is left out of the JSON where no sweep chose the parameters.
    """

    format_version: Literal[1] = 1
    plan: Plan
    removal: Removal
    verdict: Verdict
    report: Issue
    sweep: Sweep | None = Field(default=None, exclude_if=lambda sweep: sweep is None)

    @property
    def model_name(self) -> str:
        """A name for the edited model: the base model's own, and the policy's."""
        base = self.plan.model.source.partition(":")[2].rstrip("/").rpartition("/")[2]
        return one_line(f"{base or 'model'}-{self.plan.policy_name}")

    def documents(self) -> Documents:
        """This JSON, to read facts from."""
        return Documents(self.to_json())
