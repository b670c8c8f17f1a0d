"""Whose signatures count, for what, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from govern.records.base import Record, Sha256
from govern.records.person import Name


def _real_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


# UTC, RFC 3339, seconds, `Z`: one form alone, in which order as text is order in time.
UtcTime = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z"), AfterValidator(_real_time)]


class TrustEntry(Record):
    """One person's key and the time in which its signatures count."""

    fingerprint: Sha256
    person: Name
    role: Name
    valid_from: UtcTime
    """The first moment that counts."""
    valid_to: UtcTime | None
    """The first moment that no longer counts, None for no end."""
    revoked_at: UtcTime | None
    """The same. It may lie before the day it was written: a stolen key counts no longer from the theft on."""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError("the key would end before it begins")
        return self

    def holds_at(self, time: str) -> bool:
        """Whether a signature made at `time` (`UtcTime`) counts."""
        ends = [end for end in (self.valid_to, self.revoked_at) if end is not None]
        return self.valid_from <= time and all(time < end for end in ends)


class Trust(Record):
    """The people whose signatures count in a workspace, as the holder of the root key says.

    Entries are ended, never taken out, so that the newest document also judges old signatures.
    """

    format_version: Literal[1] = 1
    serial: Annotated[int, Field(ge=1)]
    """The document's place in the series: each change is a new one."""
    previous: Sha256 | None
    """The SHA-256 of the file before, None for the first."""
    issued: UtcTime
    root: Sha256
    """The fingerprint of the root key."""
    keys: tuple[TrustEntry, ...]

    @model_validator(mode="after")
    def _one_meaning_for_each_key(self) -> Self:
        fingerprints = [entry.fingerprint for entry in self.keys]
        if len(set(fingerprints)) != len(fingerprints):
            raise ValueError("one key stands here twice")
        if self.root in fingerprints:
            raise ValueError("the root key vouches for people and is nobody's own")
        if (self.serial == 1) != (self.previous is None):
            raise ValueError("the first document, and no other, has none before it")
        return self

    def entry(self, fingerprint: str) -> TrustEntry | None:
        """The entry of one key."""
        return next((entry for entry in self.keys if entry.fingerprint == fingerprint), None)
