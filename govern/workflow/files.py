"""What the files of a run and of a sweep are called."""

from __future__ import annotations

from typing import Final

POLICY: Final = "policy.yaml"
PLAN: Final = "plan.json"
REMOVAL: Final = "removal.json"
SWEEP: Final = "sweep.json"
BEFORE: Final = "before.json"
DELTA: Final = "delta.safetensors"
REPORT: Final = "report.html"
REPORT_MARKDOWN: Final = "report.md"
STATEMENT: Final = "statement.json"
BUNDLE: Final = "report.sigstore.json"
SIGNER: Final = "signer.pub"
TRIALS: Final = "trials.json"
MEASURING: Final = "measuring"
ATTACKING: Final = "attacking"
CHECKPOINT: Final = "checkpoint"
