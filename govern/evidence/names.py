"""What the files of a run and of its evidence pack are called."""

from __future__ import annotations

from typing import Any, Final

from govern.signing.acts import ActKind
from govern.signing.reviews import SIGN_OFF
from govern.signing.trust_document import TRUST_FILE
from govern.signing.waivers import REVOCATION, WAIVER

REPORT: Final = "report.html"
REPORT_MARKDOWN: Final = "report.md"
STATEMENT: Final = "statement.json"
REPORT_BUNDLE: Final = "report.sigstore.json"
SIGNER: Final = "signer.pub"
MODEL_SIGNATURE: Final = "model.sig"

POLICY: Final = "policy.yaml"
PLAN: Final = "plan.json"
REMOVAL: Final = "removal.json"
DELTA: Final = "delta.safetensors"
VERDICT: Final = "verdict.json"
STRESS: Final = "stress.json"
BENCHMARK: Final = "benchmark.json"

GATES_BUNDLE: Final = "gates.sigstore.json"
REMOVAL_BUNDLE: Final = "removal.sigstore.json"
PROVENANCE_BUNDLE: Final = "provenance.sigstore.json"

APPLIED_EVENT: Final = "applied.event.json"
VERIFIED_EVENT: Final = "verified.event.json"
ISSUED_EVENT: Final = "event.json"
TRUST_EVENT: Final = "trust.event.json"
LOG_EVENT: Final = "log.event.json"

TRUST: Final = TRUST_FILE
TRUST_BUNDLE: Final = "trust.sigstore.json"
ROOT_KEY: Final = "root.pub"
OLD_KEY: Final = "old.pub"
NEW_KEY: Final = "new.pub"
BY_OLD: Final = "rotation.old.sigstore.json"
BY_NEW: Final = "rotation.new.sigstore.json"

CHECKPOINT: Final = "checkpoint"
LOG_KEY: Final = "log.vkey"
VERIFY: Final = "VERIFY.md"

REPORT_FILES: Final = (REPORT, REPORT_MARKDOWN, STATEMENT)
EDIT_BUNDLES: Final = (GATES_BUNDLE, REMOVAL_BUNDLE, PROVENANCE_BUNDLE)
ISSUED_FILES: Final = (*REPORT_FILES, REPORT_BUNDLE, SIGNER, *EDIT_BUNDLES, MODEL_SIGNATURE)
RUN_FILES: Final = (*ISSUED_FILES, POLICY, PLAN, REMOVAL, VERDICT, APPLIED_EVENT, VERIFIED_EVENT, ISSUED_EVENT)
LOG_FILES: Final = (CHECKPOINT, LOG_KEY, LOG_EVENT)
ROTATION_FILES: Final = (OLD_KEY, NEW_KEY, BY_OLD, BY_NEW)
TRUST_FILES: Final = (TRUST, TRUST_BUNDLE, ROOT_KEY, TRUST_EVENT)
# What people signed over a run lies in numbered folders of each kind's series: a bundle, its key and its event.
KINDS: Final[tuple[ActKind[Any], ...]] = (SIGN_OFF, WAIVER, REVOCATION)
PEOPLE_FILES: Final = {kind.series: (kind.bundle, kind.key, ISSUED_EVENT) for kind in KINDS}


def proof_of(event: str) -> str:
    """The inclusion proof that lies beside an event's file."""
    return event.removesuffix(".json") + ".tlog-proof"
