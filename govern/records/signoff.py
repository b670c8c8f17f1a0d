"""A reviewer's decision over a report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from govern.records.base import Record, Sha256
from govern.records.event import AuditPosition
from govern.records.trust import Name, UtcTime


def readable(text: str) -> str:
    """Text that cannot steer a terminal. Raises ValueError for control and invisible characters."""
    if not all(character.isprintable() or character == "\n" for character in text):
        raise ValueError("this holds a control or an invisible character")
    return text


# People's own words: they must not steer a terminal, a page or the reader's eye.
Comment = Annotated[str, StringConstraints(max_length=4000, strip_whitespace=True), AfterValidator(readable)]
Decision = Literal["approve", "reject"]


class Reviewer(Record):
    """Who decided, as the trust document of that time knew them."""

    person: Name
    role: Name


class SignOff(Record):
    """One reviewer's decision. `report` is the SHA-256 of report.html.

    `audit` is the last event of the log when the reviewer signed: its leaf commits to everything before it, so the
    decision also vouches for the log as it then was.
    """

    format_version: Literal[1] = 1
    run: str
    report: Sha256
    audit: AuditPosition
    decision: Decision
    comment: Comment
    reviewer: Reviewer
    time: UtcTime
