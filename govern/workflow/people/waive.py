"""`govern waive`: a signed, expiring exception from one gate. It stands beside the verdict and never changes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from govern.clock import now
from govern.errors import UsageError
from govern.evidence.claims import RunFacts
from govern.evidence.trusting import Trusting
from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.records import GateName, Waiver
from govern.signing import AttackClaim, GateClaim, SigningKey
from govern.signing.acts import Signed
from govern.signing.waivers import WAIVER, WaiverState, may_waive, waiver_state
from govern.workflow.people.review import report_of
from govern.workflow.people.signed import Acted, open_for_signing, person
from govern.workspace import RunFolder


def waive(run_id: str | None, *, gate: str, until: str, reason: str, workspace: Path, key: SigningKey) -> Acted[Waiver]:
    """Sign an exception from one gate of a run's newest report that was not passed, up to `until` (`UtcTime`).

    `gate` is TASK/METRIC, or TASK/METRIC/KIND where several gates share the first two; for an attack with a limit it
    is TASK/recovery, or TASK/recovery/ATTACK. Raises UsageError where there is no such gate, it was passed, or the key
    is no approver's; IntegrityError where something was changed.
    """
    with open_for_signing(workspace, run_id, key) as desk:
        report = report_of(desk.run, desk.facts())
        claim = find_gate((*report.claim.gates, *report.claim.attacks), gate)
        trusting, entry = desk.vouched()
        if why := may_waive(entry, issuer=report.key.fingerprint, trust=trusting.trust):
            raise UsageError(why, where=f"key {key.public.fingerprint}")
        waiver = desk.draft(
            WAIVER,
            report=report.sha256,
            gate=gate_name(claim),
            verdict=claim.verdict,
            until=until,
            reason=reason,
            approver=person(entry),
        )
        return desk.sign(WAIVER, waiver, report.files)


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
    run: RunFolder, facts: RunFacts, trusting: Trusting | None
) -> tuple[tuple[Signed[Waiver], WaiverState], ...]:
    """Where each waiver of a run stands today for its newest report."""
    report, time = report_of(run, facts), now()
    return tuple(
        (
            waived,
            waiver_state(
                waived,
                report=report.sha256,
                issuer=report.key.fingerprint,
                trust=trusting.trust if trusting and trusting.vouched(waived) else None,
                now=time,
            ),
        )
        for waived in facts.of(WAIVER)
    )
