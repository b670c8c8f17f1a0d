"""`govern waive`: a signed, expiring exception from one gate. It stands beside the verdict and never changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from govern.errors import UsageError
from govern.evidence.names import APPROVER_KEY, WAIVER_BUNDLE
from govern.gates.max_recovery import KIND as MAX_RECOVERY
from govern.records import GateName, Waiver
from govern.signing import AttackClaim, GateClaim, SigningKey
from govern.signing.waivers import Waived, WaiverState, may_waive, sign_waiver, waiver_state
from govern.workflow.files import REPORT
from govern.workflow.people.reports import CheckedReport
from govern.workflow.people.review import report_of
from govern.workflow.people.signed import (
    head_of,
    open_for_signing,
    person,
    report_files,
    vouched,
    write_signed,
)
from govern.workflow.people.trust import in_force, now
from govern.workspace import RunFolder


@dataclass(frozen=True)
class Granted:
    """A waiver in its place."""

    run: RunFolder
    path: Path
    waiver: Waiver


def waive(run_id: str | None, *, gate: str, until: str, reason: str, workspace: Path, key: SigningKey) -> Granted:
    """Sign an exception from one gate of a run's newest report that was not passed, up to `until` (`UtcTime`).

    `gate` is TASK/METRIC, or TASK/METRIC/KIND where several gates share the first two; for an attack with a limit it
    is TASK/recovery, or TASK/recovery/ATTACK. Raises UsageError where there is no such gate, it was passed, or the key
    is no approver's; IntegrityError where something was changed.
    """
    with open_for_signing(workspace, run_id) as (place, log, run, events):
        checked = report_of(run, workspace)
        claim = find_gate((*checked.claim.gates, *checked.claim.attacks), gate)
        trusting, entry = vouched(place, key)
        if why := may_waive(entry, issuer=checked.fingerprint, trust=trusting.trust):
            raise UsageError(why, where=f"key {key.public.fingerprint}")
        files = report_files(run)
        try:
            waiver = Waiver(
                run=run.id,
                report=files[REPORT],
                gate=gate_name(claim),
                # `find_gate` refuses a gate that was passed.
                verdict=claim.verdict,
                until=until,
                reason=reason,
                approver=person(entry),
                audit=head_of(log),
                time=now(),
            )
        except ValidationError as error:
            finding = error.errors(include_input=False)[0]
            raise UsageError(
                finding["msg"].removeprefix("Value error, "),
                where=str(finding["loc"][0]) if finding["loc"] else "until",
            ) from None
        bundle = sign_waiver(waiver, files, key)
        folder, digests = write_signed(run, events, "waivers", {WAIVER_BUNDLE: bundle, APPROVER_KEY: key.public.pem})
        log.append(
            "waiver.granted",
            actor=key.public.fingerprint,
            run=run.id,
            policy_digest=checked.claim.policy_digest,
            model_after=checked.claim.model_after,
            digests=digests,
            parameters=waiver.told(),
        )
    return Granted(run, run.path(folder), waiver)


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
    waivers: tuple[Waived, ...], run: RunFolder, checked: CheckedReport, workspace: Path
) -> tuple[tuple[Waived, WaiverState], ...]:
    """Where each waiver of a run stands today for its newest report."""
    trusting, report, time = in_force(workspace), report_files(run)[REPORT], now()
    trust = trusting.trust if trusting else None
    return tuple(
        (waived, waiver_state(waived, report=report, issuer=checked.fingerprint, trust=trust, now=time))
        for waived in waivers
    )
