"""The waivers of a run, read back and held against the log."""

from __future__ import annotations

from govern.audit import Log, Stored
from govern.errors import IntegrityError
from govern.evidence.names import APPROVER_KEY, WAIVER_BUNDLE
from govern.signing.waivers import Waived, verify_waiver
from govern.workflow.log.checkpoints import at
from govern.workflow.people.signed import check_position, issued_files, logged_at, read_signed
from govern.workspace import RunFolder


def read_waivers(log: Log, run: RunFolder, *, before: int | None = None) -> tuple[Waived, ...]:
    """Every waiver of a run, oldest first, each held against the log; those before the event `before`, if it is given.

    Raises IntegrityError.
    """
    return tuple(
        _read(log, run, stored)
        for stored in log.events(run=run.id, type="waiver.granted")
        if before is None or stored.event.seq < before
    )


def _read(log: Log, run: RunFolder, stored: Stored) -> Waived:
    event, signed = stored.event, read_signed(run, stored, bundle=WAIVER_BUNDLE, key=APPROVER_KEY)
    with at(signed.path):
        waiver = verify_waiver(signed.bundle, signed.key)
        verify_waiver(signed.bundle, signed.key, issued_files(log, run, waiver.report, waiver.audit))
        if (event.actor, event.run, event.parameters) != (signed.key.fingerprint, waiver.run, waiver.told()):
            raise IntegrityError("the waiver is not the one that the log speaks of")
        check_position(log, event, waiver.audit)
    return Waived(waiver, signed.key.fingerprint, logged_at(event.time))
