"""Frozen, versioned records: what crosses rooms and what lands on disk."""

from govern.records.base import Record
from govern.records.event import Event, EventType
from govern.records.plan import (
    CorpusIdentity,
    Environment,
    ModelIdentity,
    Overlap,
    Person,
    Plan,
    TaskIdentity,
)
from govern.records.removal import CurvePoint, Removal, TensorChange
from govern.records.verdict import GateResult, Interval, TaskResult, Verdict, VerdictValue, worst

__all__ = [
    "CorpusIdentity",
    "CurvePoint",
    "Environment",
    "Event",
    "EventType",
    "GateResult",
    "Interval",
    "ModelIdentity",
    "Overlap",
    "Person",
    "Plan",
    "Record",
    "Removal",
    "TaskIdentity",
    "TaskResult",
    "TensorChange",
    "Verdict",
    "VerdictValue",
    "worst",
]
