"""A sweep: settings tried one after another on the questions that choose, and what was chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from govern.records.base import Record
from govern.records.verdict import GateResult, Interval

Standing = Literal["bound", "estimate", "none"]


class Score(Record):
    """An accuracy over all selection questions of one kind (forget or utility), with its two-sided interval."""

    value: float
    interval: Interval
    n: int


class SweepPoint(Record):
    """One setting that was tried. Every point is kept, whatever became of it.

    `gates` are the policy's gates held against selection questions, which certify nothing. `standing` says whether
    their bounds keep to the thresholds (`bound`), only the estimates do (`estimate`), or not even those (`none`).
    `change_norm` is ‖ΔW‖ (Frobenius, all changed tensors together, after the cast), `target_norm` the mean of ‖T‖ over
    topics. `delta_sha256` is that of the delta that applying these settings gives. `attacked` is what is right again
    of the questions asked about what has to go, once the sweep's attack was made. `edit_peak_bytes` is the most memory
    that the edit took above what the process held when it began, which in a comparison of methods is the model that is
    asked, and in other sweeps also what an earlier point left open for the next. A point that broke off has an
    `error` and no scores. `group` and `label` name a row of an ablation, or a method and its setting.
    """

    number: int
    group: str
    label: str
    settings: dict[str, JsonValue]
    error: str | None
    gates: tuple[GateResult, ...]
    forget: Score | None
    utility: Score | None
    standing: Standing
    change_norm: float | None
    target_norm: float | None
    delta_sha256: str | None
    attacked: Score | None = Field(default=None, exclude_if=lambda score: score is None)
    edit_seconds: float
    edit_peak_bytes: int | None = Field(default=None, exclude_if=lambda peak: peak is None)
    score_seconds: float


class Sweep(Record):
    """A finished sweep. `swept` holds what was tried, by the name of the setting.

    `front` are the numbers of the points that no other one beats in forgetting and utility, and under the attack where
    there is one; `chosen` is the one that `rule` chose, None where no point qualified, and then `nearest` came closest.
    `attack` holds the settings of the attack that each point was put to, and `attacked_before` the unedited model's
    score under it.
    """

    format_version: Literal[1] = 1
    sweep: str
    kind: Literal["grid", "ablation", "methods"]
    policy_digest: str
    plan_digest: str
    model_digest: str
    confidence: float
    swept: dict[str, tuple[JsonValue, ...]]
    forget_before: Score
    utility_before: Score
    chance: float
    attack: dict[str, JsonValue] | None = Field(default=None, exclude_if=lambda attack: attack is None)
    attacked_before: Score | None = Field(default=None, exclude_if=lambda score: score is None)
    points: tuple[SweepPoint, ...]
    front: tuple[int, ...]
    chosen: int | None
    nearest: int | None
    rule: str
    reason: str
    seconds: float


class SweepChoice(Record):
    """The point of a finished sweep that a plan's parameters come from. `digest` is over the sweep's record."""

    sweep: str
    digest: str
    point: int
