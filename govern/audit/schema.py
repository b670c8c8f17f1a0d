"""The log's tables. The schema is small and only its version is recorded: readers never migrate."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection
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


class NodeRow(SQLModel, table=True):
    """The hash of one complete subtree of 2^level events, level ≥ 1; level 0 is the events' own leaves.

    `size` is the size of the log that completed it, so rows are in the order in which they come to be.
    """

    __tablename__ = "node"
    __table_args__ = {"sqlite_with_rowid": False}

    size: int = Field(primary_key=True)
    level: int = Field(primary_key=True)
    hash: bytes


ADD_EVENT: Final = "INSERT INTO event (seq, prev, leaf, body) VALUES (?, ?, ?, ?)"
ADD_NODE: Final = "INSERT INTO node (size, level, hash) VALUES (?, ?, ?)"

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
    """CREATE TRIGGER node_is_never_updated BEFORE UPDATE ON node
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER node_is_never_deleted BEFORE DELETE ON node
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER node_is_new BEFORE INSERT ON node
    WHEN EXISTS (SELECT 1 FROM node WHERE size = NEW.size AND level = NEW.level)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)


def create_schema(connection: Connection) -> None:
    """Make the tables and triggers in an empty database and mark it as a log."""
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for table in (EventRow, NodeRow):
        SQLModel.metadata.tables[str(table.__tablename__)].create(connection)
    for trigger in TRIGGERS:
        connection.exec_driver_sql(trigger)
