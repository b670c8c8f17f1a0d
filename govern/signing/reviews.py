"""Sign-offs: each reviewer signs a statement of their own, and what all of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from govern.records import SignOff, Trust, TrustEntry, VerdictValue, same_person
from govern.signing.acts import ActKind, Signed, held_by, is_issuer

SIGN_OFF: Final = ActKind(
    name="sign-off",
    predicate="urn:govern:predicate:sign-off:v1",
    record=SignOff,
    event="review.signed",
    series="reviews",
    bundle="review.sigstore.json",
    key="reviewer.pub",
)

State = Literal["approved", "rejected", "failed", "waiting", "not required"]


@dataclass(frozen=True)
class Standing:
    """What a run's sign-offs come to.

    `missing` approvals are still needed; `waits_for` are the people whose approval would count.
    """

    state: State
    approvals: tuple[Signed[SignOff], ...]
    rejections: tuple[Signed[SignOff], ...]
    missing: int
    waits_for: tuple[TrustEntry, ...]


def standing(
    reviews: Sequence[Signed[SignOff]],
    *,
    report: str,
    verdict: VerdictValue,
    required: int,
    roles: Sequence[str],
    issuer: str,
    trust: Trust,
    now: str,
) -> Standing:
    """What the sign-offs of a run come to for its newest report (SHA-256 of report.html).

    A sign-off counts where `held_by` says whose it is, the role is among `roles`, and neither key nor person is the
    issuer's (`issuer` is a fingerprint). Approvals count for this report alone and once for each person; a rejection of
    any of the run's reports stands for ever.
    """
    counted = [
        review
        for review in reviews
        if (entry := held_by(review, trust)) and may_review(entry, roles=roles, issuer=issuer, trust=trust) is None
    ]
    rejections = tuple(review for review in counted if review.act.decision == "reject")
    approvals: list[Signed[SignOff]] = []
    for review in counted:
        approves = review.act.decision == "approve" and review.act.report == report
        if approves and not _among(review.act.reviewer.person, approvals):
            approvals.append(review)
    missing = max(0, required - len(approvals))
    return Standing(
        state=_state(rejections, verdict, required, missing),
        approvals=tuple(approvals),
        rejections=rejections,
        missing=missing,
        waits_for=tuple(
            entry
            for entry in trust.keys
            if missing
            and entry.holds_at(now)
            and may_review(entry, roles=roles, issuer=issuer, trust=trust) is None
            and not _among(entry.person, approvals)
        ),
    )


def may_review(entry: TrustEntry, *, roles: Sequence[str], issuer: str, trust: Trust) -> str | None:
    """Why this person's sign-off would not count, or None where it would. No `roles` at all means any role."""
    if roles and entry.role not in roles:
        return f"the policy asks for the role {' or '.join(roles)}, this is {entry.role}"
    return "who issued a report cannot review it" if is_issuer(entry, issuer, trust) else None


def _among(person: str, approvals: Sequence[Signed[SignOff]]) -> bool:
    return any(same_person(person, approval.act.reviewer.person) for approval in approvals)


def _state(rejections: Sequence[Signed[SignOff]], verdict: VerdictValue, required: int, missing: int) -> State:
    if rejections:
        return "rejected"
    if verdict == "fail":
        return "failed"
    if not required:
        return "not required"
    return "waiting" if missing else "approved"
