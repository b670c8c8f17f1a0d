"""Cosignatures: two workspaces witness each other's logs, by files that people or machines carry between them.

The log's holder writes a request, the witness checks it against what its own log remembers, records the checkpoint
there as an event and answers with one line, and the holder puts the line under the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from govern.audit import (
    Checkpoint,
    Cosigner,
    CosigningRequest,
    Log,
    LogVerifier,
    add_cosignature,
    cosign,
    format_request,
    open_checkpoint,
    own_note,
    parse_request,
)
from govern.audit.cosignature import signed_by
from govern.audit.merkle import verify_consistency
from govern.audit.tiles import CHECKPOINT
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError, at
from govern.records.told import CheckpointCosigned, KeyGenerated, told
from govern.signing import LogKey
from govern.workflow.log.checkpoints import KeptCheckpoint, check_kept, newest, read, refuse_existing, write
from govern.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint of somebody else's log that this workspace cosigned, and how far it knew that log before."""

    checkpoint: Checkpoint
    known: int
    cosigner: Cosigner
    time: int


def request_cosignature(workspace: Path, out: Path, *, old: int = 0) -> Checkpoint:
    """Write a request to cosign the newest checkpoint to the new file `out`.

    `old` is the number of events that the witness cosigned last, 0 for none. Raises UsageError where there is no
    checkpoint, it does not reach as far as `old`, or `out` exists.
    """
    refuse_existing(out)
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        kept = newest(place, log)
        size = kept.checkpoint.size
        if not 0 <= old <= size:
            raise UsageError(
                f"the newest checkpoint was signed over {size} events, so nothing leads there from {old}",
                where="--old",
                hint="Sign a new one: govern audit checkpoint",
            )
        hashes = log.prove_consistency(old, size) if 0 < old < size else []
    write(out, format_request(CosigningRequest(old, tuple(hashes), own_note(kept.note))))
    return kept.checkpoint


def cosign_request(workspace: Path, request: Path, out: Path, *, verifier: LogVerifier, key: LogKey) -> Cosigned:
    """As a witness: check that a log only grew since this workspace cosigned it last, record that, and cosign.

    `verifier` is the other log's key as the witness knows it. The checkpoint is an event of the witness's own log
    before the line is written to the new file `out`. Raises IntegrityError where the other log was rewritten or its key
    changed, UsageError where the request does not begin where the witness's memory ends or the log does not name `key`.
    """
    refuse_existing(out)
    asked = parse_request_file(request)
    with at(request):
        checkpoint = open_checkpoint(asked.note, verifier)
    place = Workspace.open(workspace)
    with FileLock(place.root / ".cosign.lock"), Log.open(place.database, create=False, trust=place.trust) as log:
        cosigner = Cosigner(log.verify().origin, key.public)
        refuse_unknown_key(log, cosigner)
        known = known_checkpoint(cosigned_logs(log), verifier)
        _check_grown(request, asked, checkpoint, known)
        if checkpoint != known:
            record(log, checkpoint, asked.note, verifier)
        now = int(time.time())
        line = cosign(checkpoint, cosigner, now, key.sign)
        show(place, checkpoint, signed_by(asked.note, verifier) + line)
        write(out, line)
    return Cosigned(checkpoint, known.size if known else 0, cosigner, now)


def accept_cosignature(workspace: Path, answer: Path, cosigner: Cosigner) -> KeptCheckpoint:
    """Put a witness's line under the checkpoint that it is for, in the workspace's `checkpoints`.

    Raises IntegrityError where it is for none of them.
    """
    line = read(answer)
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        checkpoints = check_kept(place, log, log.tree_head())
    for kept in reversed(checkpoints):
        try:
            note = add_cosignature(kept.note, line, cosigner)
        except IntegrityError:
            continue
        write_atomic(kept.path, note)
        return KeptCheckpoint(kept.checkpoint, note, kept.path, kept.verifier)
    raise IntegrityError(
        f"this is no cosignature by {cosigner.vkey} of a checkpoint that this workspace keeps",
        where=str(answer),
        hint="Check the key that you were given, and whether the request was made here.",
    )


def refuse_unknown_key(log: Log, cosigner: Cosigner) -> None:
    """Raise UsageError where a log does not name the key that is to cosign in its name."""
    if cosigner.vkey not in cosigner_keys(log):
        raise UsageError(
            "this workspace's log does not name this key",
            where=cosigner.vkey,
            hint="Make a key to cosign with: govern keys generate --cosigner",
        )


def cosigner_keys(log: Log) -> set[str]:
    """The verifier keys of those that may cosign in a log's name: those that it names."""
    named = (told(stored.event, KeyGenerated).cosigner for stored in log.events(type="key.generated"))
    return {vkey for vkey in named if vkey is not None}


def parse_request_file(path: Path) -> CosigningRequest:
    """A request in a file. Raises IntegrityError naming it, UsageError where it cannot be read."""
    with at(path):
        return parse_request(read(path))


def cosigned_logs(log: Log) -> dict[str, CheckpointCosigned]:
    """What this log remembers of the others that it cosigned: the newest checkpoint of each, by its origin."""
    cosigned = (told(stored.event, CheckpointCosigned) for stored in log.events(type="checkpoint.cosigned"))
    return {seen.origin: seen for seen in cosigned}


def known_checkpoint(logs: Mapping[str, CheckpointCosigned], verifier: LogVerifier) -> Checkpoint | None:
    """The newest checkpoint that is remembered of another log. Raises IntegrityError for another key of it."""
    seen = logs.get(verifier.name)
    if seen is None:
        return None
    if seen.log_key != verifier.vkey:
        raise IntegrityError(
            "this log was cosigned here under another key",
            where=verifier.vkey,
            hint=f"The key that is known here is {seen.log_key}.",
        )
    return Checkpoint(verifier.name, seen.size, bytes.fromhex(seen.root))


def record(log: Log, checkpoint: Checkpoint, note: bytes, verifier: LogVerifier) -> tuple[str, CheckpointCosigned]:
    """Make another log's checkpoint an event of this one. Returns the event's leaf, and what it tells."""
    seen = CheckpointCosigned(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        log_key=verifier.vkey,
        note=signed_by(note, verifier).decode(),
    )
    return log.append("checkpoint.cosigned", parameters=seen.to_json()).leaf, seen


def show(place: Workspace, checkpoint: Checkpoint, note: bytes) -> None:
    """Put a cosigned checkpoint where those who watch the witness look for it (tlog-witness, monitor retrieval)."""
    path = shown_folder(place) / sha256_bytes(checkpoint.origin.encode()) / CHECKPOINT
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, note)


def shown_folder(place: Workspace) -> Path:
    """The folder of the newest checkpoint of each log that this workspace cosigned."""
    return place.root / "cosigned"


def _check_grown(path: Path, asked: CosigningRequest, checkpoint: Checkpoint, known: Checkpoint | None) -> None:
    size = known.size if known else 0
    if asked.old != size:
        raise UsageError(
            f"{size} events of {checkpoint.origin} are known here, and the request proves growth from {asked.old}",
            where=str(path),
            hint=f"Ask for another one: govern audit request-cosignature --old {size}",
        )
    with at(path):
        if known is not None:
            verify_consistency(known.size, checkpoint.size, known.root, checkpoint.root, asked.hashes)
        elif asked.hashes or not checkpoint.size:
            raise IntegrityError("nothing is known of this log, and the request is not one for a beginning")
