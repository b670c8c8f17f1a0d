"""The log's tables. The schema is small and only its version is recorded: readers never migrate."""

from __future__ import annotations

from typing import Final

from sqlmodel import Field, SQLModel

# "govr", in SQLite's application id, tells a log from any other database.
APPLICATION_ID: Final = 0x676F7672
SCHEMA_VERSION: Final = 1


class EventRow(SQLModel, table=True):
    """One event: its body's exact bytes, and beside them what makes the log linear (32 bytes each).

    `prev` is unique: two events cannot follow the same one, whoever writes and whatever lock they forgot.
    """

    __tablename__ = "event"

    seq: int = Field(primary_key=True)
    prev: bytes = Field(unique=True)
    leaf: bytes
    body: bytes


# Against slips, not against malice: a trigger is as easily dropped as a row. INSERT OR REPLACE deletes without the
# DELETE trigger, so the third one wants the next number and the last leaf.
TRIGGERS: Final = (
    """CREATE TRIGGER event_is_never_updated BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER event_is_the_next BEFORE INSERT ON event
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM event)
    OR NEW.prev IS NOT (SELECT leaf FROM event ORDER BY seq DESC LIMIT 1) AND EXISTS (SELECT 1 FROM event)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)
