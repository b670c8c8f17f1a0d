"""What the files of a run and of a sweep are called: those of a pack, and those that stay in the workspace."""

from __future__ import annotations

from typing import Final

from govern.evidence.names import DELTA, PLAN, POLICY, REMOVAL, REPORT, REPORT_MARKDOWN, SIGNER, STATEMENT
from govern.evidence.names import REPORT_BUNDLE as BUNDLE

SWEEP: Final = "sweep.json"
BEFORE: Final = "before.json"
TRIALS: Final = "trials.json"
MEASURING: Final = "measuring"
ATTACKING: Final = "attacking"
CHECKPOINT: Final = "checkpoint"

__all__ = [
    "ATTACKING",
    "BEFORE",
    "BUNDLE",
    "CHECKPOINT",
    "DELTA",
    "MEASURING",
    "PLAN",
    "POLICY",
    "REMOVAL",
    "REPORT",
    "REPORT_MARKDOWN",
    "SIGNER",
    "STATEMENT",
    "SWEEP",
    "TRIALS",
]
