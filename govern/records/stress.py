"""A stress test of a removal."""

from __future__ import annotations

from typing import Literal

from govern.records.base import Record, Sha256
from govern.records.verdict import AttackResult, VerdictValue


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
