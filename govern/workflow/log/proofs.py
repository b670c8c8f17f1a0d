"""`govern audit prove` and `check-proof`: that one event is in the log, for somebody who does not have the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from govern.audit import (
    Checkpoint,
    Cosigner,
    Log,
    LogVerifier,
    cosigned_at,
    format_proof,
    parse_event,
    parse_proof,
    verify_proof,
)
from govern.errors import IntegrityError, UsageError, at
from govern.records import Event
from govern.workflow.log.checkpoints import newest, read, refuse_existing, write
from govern.workspace import Workspace


@dataclass(frozen=True)
class Proved:
    """An event that is in a log, the checkpoint under which it is, and the files that show it.

    `cosigned` says when each of the named cosigners saw the checkpoint, in seconds since 1970.
    """

    event: Event
    checkpoint: Checkpoint
    proof: Path
    entry: Path
    cosigned: dict[str, int]


def prove(workspace: Path, seq: int, out: Path) -> Proved:
    """Write the proof that event `seq` is in the log to `out`, and the event's exact bytes beside it as `.json`.

    The proof leads to the workspace's newest checkpoint, so it needs no private key. Raises UsageError where that does
    not reach as far or a file exists, IntegrityError where the log is not what was signed.
    """
    entry = entry_path(out)
    refuse_existing(out)
    refuse_existing(entry)
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        stored, kept = log.event(seq), newest(place, log)
        size = kept.checkpoint.size
        if seq >= size:
            raise UsageError(
                f"the newest checkpoint was signed over {size} events, before event {seq}",
                where=str(kept.path),
                hint="Sign a new one: govern audit checkpoint",
            )
        proof = format_proof(seq, log.prove_inclusion(seq, size), kept.note)
    with at(str(place.database)):
        verify_proof(proof, stored.body, kept.verifier)
    write(entry, stored.body)
    write(out, proof)
    return Proved(stored.event, kept.checkpoint, out, entry, {})


def entry_path(proof: Path) -> Path:
    """Where the event of a proof lies: beside it, as `.json`. Raises UsageError for a proof of that name."""
    if proof.suffix == ".json":
        raise UsageError("a proof cannot end in .json", where=str(proof), hint="Name it, say, event.tlog-proof.")
    return proof.with_suffix(".json")


def check_proof(proof: Path, *, entry: Path, verifier: LogVerifier, cosigners: Sequence[Cosigner] = ()) -> Proved:
    """Check that the event whose exact bytes are in `entry` is in the log that `verifier` signs for.

    Each of `cosigners` must have cosigned the proof's checkpoint. Needs no database, no workspace and no network.
    Raises IntegrityError naming the file that is not what it must be.
    """
    data, body = read(proof), read(entry)
    with at(entry):
        try:
            event = parse_event(body)
        except ValueError as error:
            raise IntegrityError(str(error)) from None
        if event.origin != verifier.name:
            raise IntegrityError(f"the event is of another log, {event.origin}")
    with at(proof):
        checkpoint = verify_proof(data, body, verifier)
        parsed = parse_proof(data)
        if parsed.index != event.seq:
            raise IntegrityError(f"it is for another place in the log than the event's own, {event.seq}")
        cosigned = {cosigner.vkey: cosigned_at(parsed.checkpoint, cosigner) for cosigner in cosigners}
    return Proved(event, checkpoint, proof, entry, cosigned)
