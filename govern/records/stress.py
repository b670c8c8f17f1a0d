"""What an attack on a removal brought back, with the untouched model as control."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from govern.records.base import Record, Sha256
from govern.records.verdict import Interval, VerdictValue


class AttackResult(Record):
    """One attack on one task's questions.

    Accuracies over the same `n` questions: `base` and `edited` before the attack, `control` and `attacked` after it.
    `recovered` is (attacked − edited) / (base − edited), None where the removal took nothing that could come back; its
    interval is None where the data bound it on no side. `verdict` is None where the policy sets no `max_recovery`.
    """

    attack: str
    name: str
    parameters: dict[str, JsonValue]
    task: str
    n: int
    clusters: int | None
    chance: float
    base: float
    edited: float
    control: float
    attacked: float
    recovered: float | None
    recovered_interval: Interval | None
    max_recovery: float | None
    bound: float | None
    method: str
    verdict: VerdictValue | None
    reason: str
    seconds: float


class Stress(Record):
    """All attacks of one stress test. `verdict` is the worst of those with a limit, None where none has one."""

    format_version: Literal[1] = 1
    run: str
    plan_digest: Sha256
    edited_model_digest: Sha256
    confidence: float
    verdict: VerdictValue | None
    results: tuple[AttackResult, ...]
    seconds: float
