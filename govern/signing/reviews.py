"""Sign-offs: each reviewer signs a statement of their own, and what all of them come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from govern.errors import IntegrityError
from govern.records import SignOff, Trust, TrustEntry, VerdictValue
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.statement import make_statement, parse_predicate, parse_statement

REVIEW_PREDICATE: Final = "urn:govern:predicate:sign-off:v1"

State = Literal["approved", "rejected", "failed", "waiting", "not required"]


@dataclass(frozen=True)
class Review:
    """A sign-off, the key that signed it, and when the log took it in (`UtcTime`)."""

    signoff: SignOff
    fingerprint: str
    logged: str


@dataclass(frozen=True)
class Standing:
    """What a run's sign-offs come to.

    `missing` approvals are still needed; `waits_for` are the people whose approval would count.
    """

    state: State
    approvals: tuple[Review, ...]
    rejections: tuple[Review, ...]
    missing: int
    waits_for: tuple[TrustEntry, ...]


def sign_review(signoff: SignOff, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The reviewer's bundle. `files` maps each of the report's files to its SHA-256."""
    return sign(make_statement(files, REVIEW_PREDICATE, signoff), key)


def verify_review(bundle: bytes, key: PublicKey, files: Mapping[str, str] | None = None) -> SignOff:
    """The decision that `key` signed, over these `files` where they are given. Raises IntegrityError."""
    statement = parse_statement(verify(bundle, key))
    signoff = parse_predicate(statement, REVIEW_PREDICATE, SignOff, "sign-off")
    signed = {subject.name: subject.digests.sha256 for subject in statement.subject}
    if signoff.report not in signed.values():
        raise IntegrityError("the sign-off speaks of a report that is not among the files it was signed over")
    if files is not None and signed != dict(files):
        raise IntegrityError("the sign-off is about another report")
    return signoff


def standing(
    reviews: Sequence[Review],
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

    A sign-off counts where its key is its person's and held both when it says that it was signed and when the log took
    it in, the role is among `roles`, and neither key nor person is the issuer's (`issuer` is a fingerprint). Approvals
    count for this report alone and once for each person; a rejection of any of the run's reports stands for ever.
    """
    counted = [review for review in reviews if _counts(review, roles, issuer, trust)]
    rejections = tuple(review for review in counted if review.signoff.decision == "reject")
    approvals: dict[str, Review] = {}
    for review in counted:
        if review.signoff.decision == "approve" and review.signoff.report == report:
            approvals.setdefault(_same(review.signoff.reviewer.person), review)
    missing = max(0, required - len(approvals))
    return Standing(
        state=_state(rejections, verdict, required, missing),
        approvals=tuple(approvals.values()),
        rejections=rejections,
        missing=missing,
        waits_for=tuple(
            entry
            for entry in trust.keys
            if missing
            and entry.holds_at(now)
            and may_review(entry, roles=roles, issuer=issuer, trust=trust) is None
            and _same(entry.person) not in approvals
        ),
    )


def may_review(entry: TrustEntry, *, roles: Sequence[str], issuer: str, trust: Trust) -> str | None:
    """Why this person's sign-off would not count, or None where it would. No `roles` at all means any role."""
    if roles and entry.role not in roles:
        return f"the policy asks for the role {' or '.join(roles)}, this is {entry.role}"
    return "who issued a report cannot review it" if is_issuer(entry, issuer, trust) else None


def is_issuer(entry: TrustEntry, issuer: str, trust: Trust) -> bool:
    """Whether this is the key that issued a report (`issuer` is its fingerprint), or another one of the same person."""
    known = trust.entry(issuer)
    return entry.fingerprint == issuer or (known is not None and _same(known.person) == _same(entry.person))


def _counts(review: Review, roles: Sequence[str], issuer: str, trust: Trust) -> bool:
    entry = trust.entry(review.fingerprint)
    if entry is None:
        return False
    reviewer = review.signoff.reviewer
    return (
        (entry.person, entry.role) == (reviewer.person, reviewer.role)
        and entry.holds_at(review.signoff.time)
        and entry.holds_at(review.logged)
        and may_review(entry, roles=roles, issuer=issuer, trust=trust) is None
    )


def _same(person: str) -> str:
    """Two spellings of one name are one person."""
    return " ".join(person.casefold().split())


def _state(rejections: Sequence[Review], verdict: VerdictValue, required: int, missing: int) -> State:
    if rejections:
        return "rejected"
    if verdict == "fail":
        return "failed"
    if not required:
        return "not required"
    return "waiting" if missing else "approved"
