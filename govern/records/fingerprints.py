"""Whose data a policy is about, without their names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from govern.records.base import Record, Sha256


class Fingerprints(Record):
    """Salted fingerprints of subjects: HMAC-SHA256 (RFC 2104) over a subject's normalised words, the salt as its key.

    Whoever lacks the salt has nothing to try names against. All lists are sorted: their order tells nothing.
    """

    format_version: Literal[1] = 1
    algorithm: Literal["HMAC-SHA256"] = "HMAC-SHA256"
    salt: Sha256
    """A fingerprint of the salt itself, so that a wrong one is noticed."""
    words: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """The lengths of the subjects, in words."""
    fingerprints: Annotated[tuple[Sha256, ...], Field(min_length=1)]


class RequestIdentity(Record):
    """The request that a policy serves. `fingerprints` is the SHA-256 of their file, `subjects` how many it holds."""

    kind: Literal["privacy", "copyright"]
    id: str
    fingerprints: str
    subjects: int
