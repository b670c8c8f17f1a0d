"""What people sign over a run: sign-offs, waivers and revocations are one act with three declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from govern.errors import IntegrityError
from govern.records import Act, EventType, Trust, TrustEntry, same_person
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey
from govern.signing.statement import make_statement, parse_predicate, parse_statement

A = TypeVar("A", bound=Act)


@dataclass(frozen=True)
class ActKind(Generic[A]):
    """One kind of act: what it is called and claims, the event that takes it in, and where its files lie in a run.

    Each act is a numbered folder of `series` with the files `bundle` and `key`.
    """

    name: str
    predicate: str
    record: type[A]
    event: EventType
    series: str
    bundle: str
    key: str


@dataclass(frozen=True)
class Signed(Generic[A]):
    """An act, the fingerprint of the key that signed it, when the log took it in (`UtcTime`), and as which event."""

    act: A
    fingerprint: str
    logged: str
    seq: int = 0


def sign_act(kind: ActKind[A], act: A, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The person's bundle. `files` maps each file that the act is over to its SHA-256."""
    return sign(make_statement(files, kind.predicate, act), key)


def verify_act(kind: ActKind[A], bundle: bytes, key: PublicKey, files: Mapping[str, str] | None = None) -> A:
    """The act that `key` signed, over these `files` where they are given. Raises IntegrityError."""
    statement = parse_statement(verify(bundle, key))
    act = parse_predicate(statement, kind.predicate, kind.record, kind.name)
    signed = {subject.name: subject.digests.sha256 for subject in statement.subject}
    if act.about not in signed.values():
        raise IntegrityError(f"the {kind.name} speaks of a file that is not among those it was signed over")
    if files is not None and signed != dict(files):
        raise IntegrityError(f"the {kind.name} is about another report or another delta")
    return act


def held_by(signed: Signed[A], trust: Trust) -> TrustEntry | None:
    """Who signed an act, where the key was that person's both when it says it was signed and when the log took it in.

    None where the signature does not count.
    """
    entry = trust.entry(signed.fingerprint)
    if entry is None or (entry.person, entry.role) != (signed.act.who.person, signed.act.who.role):
        return None
    return entry if entry.holds_at(signed.act.time) and entry.holds_at(signed.logged) else None


def is_issuer(entry: TrustEntry, issuer: str, trust: Trust) -> bool:
    """Whether this is the key that issued a report (`issuer` is its fingerprint), or another one of the same person."""
    known = trust.entry(issuer)
    return entry.fingerprint == issuer or (known is not None and same_person(known.person, entry.person))
