"""`govern revoke`: the end of a removal, for ever."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from govern.audit import Log, Stored
from govern.errors import IntegrityError, UsageError
from govern.evidence.names import REVOCATION_BUNDLE, REVOKER_KEY
from govern.records import Revocation
from govern.signing import SigningKey
from govern.signing.waivers import Revoked, sign_revocation, verify_revocation
from govern.workflow.files import DELTA
from govern.workflow.log.checkpoints import at
from govern.workflow.people.signed import (
    check_position,
    head_of,
    logged_at,
    open_for_signing,
    person,
    read_signed,
    vouched,
    write_signed,
)
from govern.workflow.people.trust import now
from govern.workflow.runs import stored_removal
from govern.workspace import RunFolder


@dataclass(frozen=True)
class Ended:
    """A revocation in its place."""

    run: RunFolder
    path: Path
    revocation: Revocation


def revoke(run_id: str | None, *, reason: str, workspace: Path, key: SigningKey) -> Ended:
    """Sign that a run's removal must not be relied on. Anybody may whom the trust document knows, in any role.

    From then on the run is not verified, reported, reviewed or exported any more. Raises UsageError where nobody
    vouches for the key or the removal is revoked already, IntegrityError where the log or an artefact was changed.
    """
    with open_for_signing(workspace, run_id) as (place, log, run, events):
        _, entry = vouched(place, key)
        removal = stored_removal(run)
        try:
            revocation = Revocation(
                run=run.id,
                delta_sha256=removal.delta_sha256,
                model_after=removal.edited_model_digest,
                reason=reason,
                person=person(entry),
                audit=head_of(log),
                time=now(),
            )
        except ValidationError as error:
            raise UsageError(
                error.errors(include_input=False)[0]["msg"].removeprefix("Value error, "), where="reason"
            ) from None
        bundle = sign_revocation(revocation, key)
        folder, digests = write_signed(
            run, events, "revocations", {REVOCATION_BUNDLE: bundle, REVOKER_KEY: key.public.pem}
        )
        log.append(
            "removal.revoked",
            actor=key.public.fingerprint,
            run=run.id,
            policy_digest=next(event for event in events if event.type == "apply.finished").policy_digest,
            model_before=removal.base_model_digest,
            model_after=removal.edited_model_digest,
            digests=digests,
            parameters=revocation.told(),
        )
    return Ended(run, run.path(folder), revocation)


def read_revocation(log: Log, run: RunFolder) -> Revoked | None:
    """A run's revocation, held against the log. Raises IntegrityError."""
    for stored in log.events(run=run.id, type="removal.revoked"):
        return _read(log, run, stored)
    return None


def _read(log: Log, run: RunFolder, stored: Stored) -> Revoked:
    event, signed = stored.event, read_signed(run, stored, bundle=REVOCATION_BUNDLE, key=REVOKER_KEY)
    with at(signed.path):
        revocation = verify_revocation(signed.bundle, signed.key)
        applied = next(log.events(run=run.id, type="apply.finished")).event
        told = (event.actor, event.run, event.parameters, event.model_after, applied.digests[DELTA])
        said = (
            signed.key.fingerprint, revocation.run, revocation.told(), revocation.model_after, revocation.delta_sha256
        )  # fmt: skip
        if told != said:
            raise IntegrityError("the revocation is not the one that the log speaks of")
        check_position(log, event, revocation.audit)
    return Revoked(revocation, signed.key.fingerprint, logged_at(event.time))
