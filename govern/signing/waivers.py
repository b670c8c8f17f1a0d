"""Waivers and revocations: people's signed words about a run, beside its sign-offs."""

from __future__ import annotations

from typing import Final, Literal

from govern.records import Revocation, Trust, TrustEntry, Waiver
from govern.signing.acts import ActKind, Signed, held_by, is_issuer

WAIVER: Final = ActKind(
    name="waiver",
    predicate="urn:govern:predicate:waiver:v1",
    record=Waiver,
    event="waiver.granted",
    series="waivers",
    bundle="waiver.sigstore.json",
    key="approver.pub",
)
REVOCATION: Final = ActKind(
    name="revocation",
    predicate="urn:govern:predicate:revocation:v1",
    record=Revocation,
    event="removal.revoked",
    series="revocations",
    bundle="revocation.sigstore.json",
    key="revoker.pub",
)

# The role in the trust document whose signature makes a waiver.
APPROVER_ROLE: Final = "approver"

WaiverState = Literal["in force", "expired", "for another report", "void"]


def may_waive(entry: TrustEntry, *, issuer: str, trust: Trust) -> str | None:
    """Why this person's waiver would not count, or None where it would."""
    if entry.role != APPROVER_ROLE:
        return f"a waiver needs the role {APPROVER_ROLE} in the trust document, this is {entry.role}"
    return "who issued a report cannot waive its gates" if is_issuer(entry, issuer, trust) else None


def waiver_state(waived: Signed[Waiver], *, report: str, issuer: str, trust: Trust | None, now: str) -> WaiverState:
    """Where a waiver stands at `now` for the report that is newest (SHA-256 of report.html)."""
    entry = held_by(waived, trust) if trust else None
    if trust is None or entry is None or may_waive(entry, issuer=issuer, trust=trust) is not None:
        return "void"
    if waived.act.report != report:
        return "for another report"
    return "in force" if now < waived.act.until else "expired"
