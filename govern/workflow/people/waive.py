"""`govern waive`: a signed, expiring exception from one gate. It stands beside the verdict and never changes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from govern.clock import now
from govern.errors import UsageError
from govern.evidence.names import REPORT
from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.records import GateName, Waiver
from govern.signing import AttackClaim, GateClaim, SigningKey
from govern.signing.acts import Signed
from govern.signing.waivers import WAIVER, WaiverState, may_waive, waiver_state
from govern.workflow.people.reports import CheckedReport
from govern.workflow.people.review import report_of
from govern.workflow.people.signed import Acted, open_for_signing, person, report_files
from govern.workflow.people.trust import in_force
from govern.workspace import RunFolder


def waive(run_id: str | None, *, gate: str, until: str, reason: str, workspace: Path, key: SigningKey) -> Acted[Waiver]:
    """Sign an exception from one gate of a run's newest report that was not passed, up to `until` (`UtcTime`).

    `gate` is TASK/METRIC, or TASK/METRIC/KIND where several gates share the first two; for an attack with a limit it
    is TASK/recovery, or TASK/recovery/ATTACK. Raises UsageError where there is no such gate, it was passed, or the key
    is no approver's; IntegrityError where something was changed.
    """
    with open_for_signing(workspace, run_id, key) as desk:
        checked, files = report_of(desk.run, workspace), report_files(desk.run)
        claim = find_gate((*checked.claim.gates, *checked.claim.attacks), gate)
        trusting, entry = desk.vouched()
        if why := may_waive(entry, issuer=checked.fingerprint, trust=trusting.trust):
            raise UsageError(why, where=f"key {key.public.fingerprint}")
        waiver = desk.draft(
            WAIVER,
            report=files[REPORT],
            gate=gate_name(claim),
            verdict=claim.verdict,
            until=until,
            reason=reason,
            approver=person(entry),
        )
        return desk.sign(WAIVER, waiver, files)


def find_gate(gates: Sequence[GateClaim | AttackClaim], wanted: str) -> GateClaim | AttackClaim:
    """The gate that `waive` was told of by its name. Raises UsageError, also where it was passed."""
    named = [(gate_name(gate), gate) for gate in gates]
    found = [(name, gate) for name, gate in named if wanted in (str(name), f"{name.task}/{name.metric}")]
    if len(found) != 1:
        raise UsageError(
            f"there is no gate {wanted}" if not found else f"{len(found)} gates are called {wanted}",
            where="--gate",
            hint=f"Name one of: {', '.join(str(name) for name, _ in found or named)}",
        )
    [(name, gate)] = found
    if gate.verdict == "pass":
        raise UsageError(f"the gate {name} was passed, so there is nothing to waive", where="--gate")
    return gate


def gate_name(gate: GateClaim | AttackClaim) -> GateName:
    """What a gate is called in a waiver."""
    if isinstance(gate, AttackClaim):
        return GateName(task=gate.task, metric="recovery", kind=MAX_RECOVERY.name, attack=gate.name)
    return GateName(task=gate.task, metric=gate.metric, kind=gate.kind)


def states_of(
    waivers: tuple[Signed[Waiver], ...], run: RunFolder, checked: CheckedReport, workspace: Path
) -> tuple[tuple[Signed[Waiver], WaiverState], ...]:
    """Where each waiver of a run stands today for its newest report."""
    trusting, report, time = in_force(workspace), report_files(run)[REPORT], now()
    trust = trusting.trust if trusting else None
    return tuple(
        (waived, waiver_state(waived, report=report, issuer=checked.fingerprint, trust=trust, now=time))
        for waived in waivers
    )
