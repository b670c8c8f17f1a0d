"""Frozen, versioned records: what crosses rooms and what lands on disk."""

from govern.records.act import Act, Reviewer
from govern.records.base import Line, Record, RunId, Sha256
from govern.records.benchmark import Benchmark, BenchmarkedModel, Figure
from govern.records.cost import Cost
from govern.records.event import AuditPosition, Event, EventType
from govern.records.fingerprints import Fingerprints, RequestIdentity
from govern.records.mirror import Mirror, MirroredDataset
from govern.records.origin import Origin
from govern.records.person import Name, same_person
from govern.records.plan import (
    CorpusIdentity,
    Deployment,
    Environment,
    ModelIdentity,
    Overlap,
    Person,
    Plan,
    TaskIdentity,
)
from govern.records.removal import CurvePoint, EditCheck, Removal, TensorChange
from govern.records.revocation import Revocation
from govern.records.signoff import Decision, SignOff
from govern.records.stress import Stress
from govern.records.sweep import Score, Standing, Sweep, SweepChoice, SweepPoint
from govern.records.trust import Trust, TrustEntry, UtcTime
from govern.records.verdict import (
    ENDPOINT,
    AttackResult,
    EndpointCheck,
    GateKind,
    GateResult,
    Interval,
    LimitKind,
    NeighbourResult,
    ScorerCheck,
    SequentialTest,
    SubjectResult,
    TaskResult,
    Verdict,
    VerdictValue,
    Verification,
    worst,
)
from govern.records.waiver import GateName, Waiver

__all__ = [
    "ENDPOINT",
    "Act",
    "AttackResult",
    "AuditPosition",
    "Benchmark",
    "BenchmarkedModel",
    "CorpusIdentity",
    "Cost",
    "CurvePoint",
    "Decision",
    "Deployment",
    "EditCheck",
    "EndpointCheck",
    "Environment",
    "Event",
    "EventType",
    "Figure",
    "Fingerprints",
    "GateKind",
    "GateName",
    "GateResult",
    "Interval",
    "LimitKind",
    "Line",
    "Mirror",
    "MirroredDataset",
    "ModelIdentity",
    "Name",
    "NeighbourResult",
    "Origin",
    "Overlap",
    "Person",
    "Plan",
    "Record",
    "Removal",
    "RequestIdentity",
    "Reviewer",
    "Revocation",
    "RunId",
    "Score",
    "ScorerCheck",
    "SequentialTest",
    "Sha256",
    "SignOff",
    "Standing",
    "Stress",
    "SubjectResult",
    "Sweep",
    "SweepChoice",
    "SweepPoint",
    "TaskIdentity",
    "TaskResult",
    "TensorChange",
    "Trust",
    "TrustEntry",
    "UtcTime",
    "Verdict",
    "VerdictValue",
    "Verification",
    "Waiver",
    "same_person",
    "worst",
]
