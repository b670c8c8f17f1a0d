"""`govern revoke`: the end of a removal, for ever."""

from __future__ import annotations

from pathlib import Path

from govern.evidence.names import DELTA
from govern.records import Revocation
from govern.signing import SigningKey
from govern.signing.waivers import REVOCATION
from govern.workflow.people.signed import Acted, open_for_signing, person
from govern.workflow.runs import stored_removal


def revoke(run_id: str | None, *, reason: str, workspace: Path, key: SigningKey) -> Acted[Revocation]:
    """Sign that a run's removal must not be relied on. Anybody may whom the trust document knows, in any role.

    From then on the run is not verified, reported, reviewed or exported any more. Raises UsageError where nobody
    vouches for the key or the removal is revoked already, IntegrityError where the log or an artefact was changed.
    """
    with open_for_signing(workspace, run_id, key) as desk:
        desk.facts()
        _, entry = desk.vouched()
        removal = stored_removal(desk.run)
        revocation = desk.draft(
            REVOCATION,
            delta_sha256=removal.delta_sha256,
            model_after=removal.edited_model_digest,
            reason=reason,
            person=person(entry),
        )
        return desk.sign(REVOCATION, revocation, {DELTA: removal.delta_sha256}, model_before=removal.base_model_digest)
