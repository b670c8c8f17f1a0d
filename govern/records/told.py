"""What an event of each type tells beside the fields that all events have: its parameters.

They are written from these records and read through `told` alone. A new field has a default, since old events are read
for ever; a field that is no longer read is left alone.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import to_json

from govern.errors import IntegrityError
from govern.records.base import Record, Sha256
from govern.records.event import Event, EventType, Told
from govern.records.revocation import RemovalRevoked
from govern.records.signoff import ReviewSigned
from govern.records.sweep import SweepPoint
from govern.records.trust import UtcTime
from govern.records.verdict import VerdictValue
from govern.records.waiver import WaiverGranted

R = TypeVar("R", bound=Record)

SweepKind = Literal["grid", "ablation", "methods"]


class Failed(Told):
    """Why something did not end well: our own words, or the kind of an unforeseen error alone."""

    error: str


class ApplyBegan(Told):
    """`apply.started` and `apply.resumed`: where the policy lay, and beside that its method's settings."""

    model_config = ConfigDict(extra="allow")

    policy_path: str


class SweepBegan(Told):
    """`sweep.started` and `sweep.resumed`."""

    policy_path: str
    kind: SweepKind
    removal: dict[str, Any]
    axes: dict[str, Any]
    compared: dict[str, Any] | None = Field(default=None, exclude_if=lambda compared: compared is None)
    """What a comparison of methods was asked for; None for other sweeps, and before that was kept."""


class SweepFailed(Failed):
    """`sweep.failed`."""

    kind: SweepKind


class SweepFinished(Told):
    """`sweep.finished`: the point that was chosen, None where none was, and its settings."""

    kind: SweepKind
    points: int
    chosen: int | None
    nearest: int | None
    settings: dict[str, JsonValue] | None
    rule: str
    reason: str
    throwaway_key: bool | None = Field(default=None, exclude_if=lambda throwaway: throwaway is None)
    """Of a signed comparison alone."""


class VerifyStarted(Told):
    """`verify.started`: which look at these question sets this is, and their digests by task."""

    attempt: int
    tasks: dict[str, str]


class VerifyFinished(Told):
    """`verify.finished`."""

    attempt: int
    verdict: VerdictValue
    remembered: dict[str, list[str]] = Field(default_factory=dict)
    """The tasks whose answers were not asked for again, of the model before and after."""
    questions: dict[str, list[str]] = Field(default_factory=dict)
    """Each task's source and digest."""


class StressStarted(Told):
    """`stress.started`."""

    attacks: list[Any]
    tasks: list[str]


class StressFinished(Told):
    """`stress.finished`: the verdict is None where no attack had a limit."""

    verdict: VerdictValue | None


class BenchmarkStarted(Told):
    """`benchmark.started`: the questions that are asked."""

    pack: str
    split: str | None
    limit: int | None
    data_digest: str


class BenchmarkFinished(BenchmarkStarted):
    """`benchmark.finished`: each model's digest and figures, by its role."""

    models: dict[str, str]
    figures: dict[str, dict[str, Any]]


class ReproduceFinished(Told):
    """`reproduce.finished`: whether the plan gave the same delta again."""

    result: str
    largest_difference: float
    tolerance: float
    delta_sha256: str
    changed: list[str]


class ReportIssued(Told):
    """`report.issued`."""

    verdict: VerdictValue
    throwaway_key: bool = False


class ExportFinished(Told):
    """`export.finished`: where the model was written, and how far its logits are from the edited model's in memory."""

    folder: str
    logits_apart: float | None = Field(default=None, exclude_if=lambda apart: apart is None)


class KeyGenerated(Told):
    """`key.generated`: a person's key by its digest, the log's own by `vkey`, or one that cosigns by `cosigner`."""

    algorithm: str | None = None
    public_sha256: Sha256 | None = Field(default=None, exclude_if=lambda digest: digest is None)
    vkey: str | None = Field(default=None, exclude_if=lambda vkey: vkey is None)
    cosigner: str | None = Field(default=None, exclude_if=lambda vkey: vkey is None)


class TrustChanged(Told):
    """`trust.changed`: the document's place in the series, and whose keys the change is about."""

    serial: int
    change: Literal["init", "add", "revoke", "rotate"]
    fingerprint: Sha256 | None = Field(default=None, exclude_if=lambda fingerprint: fingerprint is None)
    since: UtcTime | None = Field(default=None, exclude_if=lambda since: since is None)
    old: Sha256 | None = Field(default=None, exclude_if=lambda fingerprint: fingerprint is None)
    new: Sha256 | None = Field(default=None, exclude_if=lambda fingerprint: fingerprint is None)


class CheckpointCosigned(Told):
    """`checkpoint.cosigned`: another log's checkpoint as this one saw it, and the key that signed it."""

    origin: str
    size: int
    root: Sha256
    log_key: str
    note: str


class SitePublished(Told):
    """`site.published`: the statement's digest, and how many runs it shows."""

    statement: Sha256
    runs: int
    throwaway_key: bool


class RunPruned(Told):
    """`run.pruned`: the artefacts that were dropped, by their SHA-256, and their bytes together."""

    dropped: dict[str, str]
    bytes: int


class RanIn(Told):
    """The `environment` of an event of a stage, as far as anybody asks for it."""

    govern: str
    packages: dict[str, str]


TOLD: Final[dict[EventType, type[Record]]] = {
    "apply.started": ApplyBegan,
    "apply.resumed": ApplyBegan,
    "apply.failed": Failed,
    "sweep.started": SweepBegan,
    "sweep.resumed": SweepBegan,
    "sweep.point": SweepPoint,
    "sweep.finished": SweepFinished,
    "sweep.failed": SweepFailed,
    "verify.started": VerifyStarted,
    "verify.finished": VerifyFinished,
    "verify.failed": Failed,
    "stress.started": StressStarted,
    "stress.finished": StressFinished,
    "stress.failed": Failed,
    "benchmark.started": BenchmarkStarted,
    "benchmark.finished": BenchmarkFinished,
    "benchmark.failed": Failed,
    "report.issued": ReportIssued,
    "export.finished": ExportFinished,
    "key.generated": KeyGenerated,
    "trust.changed": TrustChanged,
    "review.signed": ReviewSigned,
    "checkpoint.cosigned": CheckpointCosigned,
    "site.published": SitePublished,
    "reproduce.finished": ReproduceFinished,
    "reproduce.failed": Failed,
    "waiver.granted": WaiverGranted,
    "removal.revoked": RemovalRevoked,
    "run.pruned": RunPruned,
}
"""What each type of event tells; a type that is not here tells nothing."""


def told(event: Event, kind: type[R]) -> R:
    """What an event tells. Raises IntegrityError where it is malformed: its writer was not govern."""
    return _read(event, event.parameters, kind)


def ran_in(event: Event) -> RanIn:
    """Under which versions a stage ran. Raises IntegrityError where the event does not say."""
    return _read(event, event.environment, RanIn)


def _read(event: Event, value: dict[str, Any], kind: type[R]) -> R:
    try:
        return kind.model_validate_json(to_json(value), strict=True)
    except ValidationError as error:
        finding = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in finding["loc"])
        form = "" if finding["type"] == "missing" else " in a form that govern writes"
        raise IntegrityError(
            f"event {event.seq}, {event.type}, does not say{form} {field!r}",
            hint="Somebody else wrote it into the log. Keep the log as evidence, and restore it from a backup.",
        ) from None
