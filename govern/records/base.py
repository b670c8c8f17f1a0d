"""The form that all records share."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from govern.digests import canonical_json, sha256_bytes
from govern.records.person import one_line

# What comes from outside stands in our own lines: a run's id and a log's name are one word, other names one line.
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\z")]
LogOrigin = Annotated[str, StringConstraints(pattern=r"^[!-*,-~]{1,200}\z")]
Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(one_line)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]


class Record(BaseModel):
    """A frozen JSON object. Unknown fields are refused: a record we do not understand is not one we vouch for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON value."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """The record's RFC 8785 bytes: what is stored, hashed and signed."""
        return canonical_json(self.to_json())

    @property
    def sha256(self) -> str:
        """SHA-256 over the RFC 8785 bytes, in hex."""
        return sha256_bytes(self.canonical())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a record from JSON bytes. Raises pydantic.ValidationError."""
        return cls.model_validate_json(data)
