"""What a person signs over a run."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, StringConstraints

from govern.records.base import Record, RunId, Sha256
from govern.records.event import AuditPosition, Told
from govern.records.person import Name
from govern.records.trust import UtcTime


def readable(text: str) -> str:
    """Text that cannot steer a terminal. Raises ValueError for control and invisible characters."""
    if not all(character.isprintable() or character == "\n" for character in text):
        raise ValueError("this holds a control or an invisible character")
    return text


# People's own words: they must not steer a terminal, a page or the reader's eye.
Words = Annotated[str, StringConstraints(max_length=4000, strip_whitespace=True), AfterValidator(readable)]
# And there have to be some.
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=4000, strip_whitespace=True), AfterValidator(readable)
]


class Reviewer(Record):
    """Who signed, as the trust document of that time knew them."""

    person: Name
    role: Name


class Act(Record):
    """What one person signs over a run. Each kind adds what it says, and names its fields that all kinds have."""

    SIGNER: ClassVar[str]
    """The field that says who signed."""
    ABOUT: ClassVar[str]
    """The field with the SHA-256 of the file that it is about."""
    TELLS: ClassVar[type[Told]]
    """What the event tells that takes it in: a part of these fields, and the signer's role."""

    format_version: Literal[1] = 1
    run: RunId
    audit: AuditPosition
    """The last event of the log when it was signed: the signature also vouches for the log as it then was."""
    time: UtcTime

    @property
    def who(self) -> Reviewer:
        """Who signed."""
        person: Reviewer = getattr(self, self.SIGNER)
        return person

    @property
    def about(self) -> Sha256:
        """The SHA-256 of the file that it is about."""
        digest: Sha256 = getattr(self, self.ABOUT)
        return digest

    def told(self) -> Told:
        """What the log says of it: all but the person and their words."""
        return self.TELLS.model_validate({**dict(self), "role": self.who.role})
