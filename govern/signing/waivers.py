"""Waivers and revocations: people's signed words about a run, beside its sign-offs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from govern.errors import IntegrityError
from govern.records import Revocation, Trust, TrustEntry, Waiver
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.reviews import is_issuer
from govern.signing.statement import make_statement, parse_predicate, parse_statement

WAIVER_PREDICATE: Final = "urn:govern:predicate:waiver:v1"
REVOCATION_PREDICATE: Final = "urn:govern:predicate:revocation:v1"

# The role in the trust document whose signature makes a waiver.
APPROVER_ROLE: Final = "approver"

_DELTA: Final = "delta.safetensors"

WaiverState = Literal["in force", "expired", "for another report", "void"]


@dataclass(frozen=True)
class Waived:
    """A waiver, the key that signed it, and when the log took it in (`UtcTime`)."""

    waiver: Waiver
    fingerprint: str
    logged: str


@dataclass(frozen=True)
class Revoked:
    """A revocation, the key that signed it, and when the log took it in (`UtcTime`)."""

    revocation: Revocation
    fingerprint: str
    logged: str


def sign_waiver(waiver: Waiver, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The approver's bundle. `files` maps each of the report's files to its SHA-256."""
    return sign(make_statement(files, WAIVER_PREDICATE, waiver), key)


def verify_waiver(bundle: bytes, key: PublicKey, files: Mapping[str, str] | None = None) -> Waiver:
    """The waiver that `key` signed, over these `files` where they are given. Raises IntegrityError."""
    statement = parse_statement(verify(bundle, key))
    waiver = parse_predicate(statement, WAIVER_PREDICATE, Waiver, "waiver")
    signed = {subject.name: subject.digests.sha256 for subject in statement.subject}
    if waiver.report not in signed.values():
        raise IntegrityError("the waiver speaks of a report that is not among the files it was signed over")
    if files is not None and signed != dict(files):
        raise IntegrityError("the waiver is about another report")
    return waiver


def sign_revocation(revocation: Revocation, key: SigningKey) -> bytes:
    """The bundle of whoever revokes, over the removal's delta."""
    return sign(make_statement({_DELTA: revocation.delta_sha256}, REVOCATION_PREDICATE, revocation), key)


def verify_revocation(bundle: bytes, key: PublicKey) -> Revocation:
    """The revocation that `key` signed. Raises IntegrityError."""
    statement = parse_statement(verify(bundle, key))
    revocation = parse_predicate(statement, REVOCATION_PREDICATE, Revocation, "revocation")
    if {subject.name: subject.digests.sha256 for subject in statement.subject} != {_DELTA: revocation.delta_sha256}:
        raise IntegrityError("the revocation was signed over another delta than it speaks of")
    return revocation


def may_waive(entry: TrustEntry, *, issuer: str, trust: Trust) -> str | None:
    """Why this person's waiver would not count, or None where it would."""
    if entry.role != APPROVER_ROLE:
        return f"a waiver needs the role {APPROVER_ROLE} in the trust document, this is {entry.role}"
    return "who issued a report cannot waive its gates" if is_issuer(entry, issuer, trust) else None


def waiver_state(waived: Waived, *, report: str, issuer: str, trust: Trust | None, now: str) -> WaiverState:
    """Where a waiver stands at `now` for the report that is newest (SHA-256 of report.html).

    It counts where its key is its person's and held both when it says that it was signed and when the log took it in.
    """
    waiver = waived.waiver
    entry = trust.entry(waived.fingerprint) if trust else None
    if (
        trust is None
        or entry is None
        or (entry.person, entry.role) != (waiver.approver.person, waiver.approver.role)
        or not all(entry.holds_at(time) for time in (waiver.time, waived.logged))
        or may_waive(entry, issuer=issuer, trust=trust) is not None
    ):
        return "void"
    if waiver.report != report:
        return "for another report"
    return "in force" if now < waiver.until else "expired"
