"""One record of the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from govern.records.base import Record, Sha256

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

    `seq` is dense from 0 and assigned by the log. `prev` is the `leaf` of the event before, 64 zeros for the first,
    so that an event commits to all that came before it. `time` is UTC, RFC 3339 with microseconds and `Z`.
    `run` is the id of a run, or of a sweep in a sweep's events. `digests` maps the path of each artefact that the event
    binds, relative to the folder of that run or sweep (the workspace where `run` is None), to its SHA-256. `trust` is
    the SHA-256 of the trust document in force, None before there is one.
    """

    # In a field of any type, pydantic would otherwise write a NaN as null without a word.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    format_version: Literal[1] = 1
    origin: str
    seq: int
    prev: str
    type: EventType
    time: str
    actor: str | None
    run: str | None
    trust: str | None = None
    policy_digest: str | None
    model_before: str | None
    model_after: str | None
    digests: dict[str, str]
    parameters: dict[str, Any]
    seed: int | None
    environment: dict[str, Any]


class AuditPosition(Record):
    """The event that something signed stands on: its log, its number and its leaf hash, which commits to its past."""

    origin: str
    seq: Annotated[int, Field(ge=0)]
    leaf: Sha256
