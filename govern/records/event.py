"""One record of the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from govern.records.base import LogOrigin, Record, Sha256

EventType = Literal[
    "log.created",
    "apply.started",
    "apply.resumed",
    "apply.finished",
    "apply.failed",
    "sweep.started",
    "sweep.resumed",
    "sweep.prepared",
    "sweep.point",
    "sweep.finished",
    "sweep.failed",
    "verify.started",
    "verify.finished",
    "verify.failed",
    "stress.started",
    "stress.finished",
    "stress.failed",
    "benchmark.started",
    "benchmark.finished",
    "benchmark.failed",
    "report.issued",
    "export.finished",
    "key.generated",
    "trust.changed",
    "review.signed",
    "checkpoint.cosigned",
    "site.published",
    "reproduce.started",
    "reproduce.finished",
    "reproduce.failed",
    "waiver.granted",
    "removal.revoked",
    "run.pruned",
]


class Event(Record):
    """The body of an event. Its RFC 8785 bytes are what the log stores and hashes; they are never re-serialised.

    Old events are read for ever: a new field has a default, and a new meaning takes a new `format_version`.
    """

    # In a field of any type, pydantic would otherwise write a NaN as null without a word.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    format_version: Literal[1] = 1
    origin: str
    """The log's name: the same in all of its events."""
    seq: int
    """The event's number: dense from 0, assigned by the log."""
    prev: str
    """The `leaf` of the event before, 64 zeros for the first: an event commits to all that came before it."""
    type: EventType
    time: str
    """UTC, RFC 3339 with microseconds and `Z`."""
    actor: str | None
    """The fingerprint of the key that acted."""
    run: str | None
    """The id of a run, or of a sweep in a sweep's events."""
    trust: str | None = None
    """The SHA-256 of the trust document in force, None before there is one."""
    policy_digest: str | None
    model_before: str | None
    model_after: str | None
    digests: dict[str, str]
    """The SHA-256 of each artefact that the event binds, by its path in the folder of that run or sweep, or in the
    workspace where `run` is None."""
    parameters: dict[str, Any]
    """What events of this type tell: read them through `told`."""
    seed: int | None
    environment: dict[str, Any]


class Told(Record):
    """What the parameters of all event types share: what is no longer read is left alone."""

    model_config = ConfigDict(extra="ignore")


class AuditPosition(Record):
    """The event that something signed stands on."""

    origin: LogOrigin
    """The log's name."""
    seq: Annotated[int, Field(ge=0)]
    """The event's number."""
    leaf: Sha256
    """The event's leaf hash, which commits to all that came before it."""
