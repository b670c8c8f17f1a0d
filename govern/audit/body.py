"""An event as it is stored, and what its bytes must satisfy on their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from rfc8785 import CanonicalizationError

from govern import limits
from govern.audit import merkle
from govern.digests import canonical_json
from govern.errors import IntegrityError
from govern.records import Event

NO_PREV = "0" * 64


@dataclass(frozen=True)
class Stored:
    """One event: the record, its exact bytes, the leaf of the event before and its own leaf (hex)."""

    event: Event
    body: bytes
    prev: str
    leaf: str

    @property
    def row(self) -> tuple[int, bytes, bytes, bytes]:
        """Its columns in the database: seq, prev, leaf, body."""
        return self.event.seq, bytes.fromhex(self.prev), bytes.fromhex(self.leaf), self.body


def leaf_hash(body: bytes) -> str:
    """The event's leaf in the Merkle tree, in hex."""
    return merkle.leaf_hash(body).hex()


def read_row(seq: Any, prev: Any, leaf: Any, body: Any) -> Stored:
    """Check one row on its own. Raises ValueError saying what differs, and never quoting the body."""
    if type(seq) is not int or not all(type(column) is bytes for column in (prev, leaf, body)):
        raise ValueError("a column has the wrong type")
    found = leaf_hash(body)
    if found != leaf.hex():
        raise ValueError(f"its body does not hash to its leaf: {found} is not {leaf.hex()}")
    event = parse_event(body)
    if event.seq != seq:
        raise ValueError(f"its body has seq {event.seq}, its row {seq}")
    if event.prev != prev.hex():
        raise ValueError("its body and its row have a different prev")
    return Stored(event=event, body=body, prev=event.prev, leaf=found)


def parse_event(body: bytes) -> Event:
    """Read an event from untrusted bytes. Raises ValueError where they are not the RFC 8785 form of a known event."""
    try:
        limits.check_json(body, limits.EVENT_BYTES, "event's body")
        value = from_json(body)
    except IntegrityError as error:
        raise ValueError(error.message) from None
    except ValueError:
        raise ValueError("its body is no event of a known version: JSON") from None
    try:
        event = Event.model_validate(value, strict=True)
    except ValidationError as error:
        fields = sorted({str(finding["loc"][0]) if finding["loc"] else "JSON" for finding in error.errors()})
        raise ValueError(f"its body is no event of a known version: {', '.join(fields)}") from None
    # To pydantic, true is as good as 1, and a version that is not there as good as the newest.
    if type(value.get("format_version")) is not int:
        raise ValueError("its body is no event of a known version: format_version")
    try:
        canonical = canonical_json(value)
    except (CanonicalizationError, RecursionError):
        raise ValueError("its body holds a value that RFC 8785 cannot write") from None
    if canonical != body:
        raise ValueError("its body is not in RFC 8785 form")
    return event
