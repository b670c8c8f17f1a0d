"""`govern audit collect-cosignatures`: the newest checkpoint, put to the witnesses that a quorum file names."""

from __future__ import annotations

import http.client
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock

from govern import limits, web
from govern.audit import CosigningRequest, Log, add_cosignature, format_request, own_note
from govern.audit.checkpoint import split_line
from govern.audit.quorum import Quorum, Witness
from govern.errors import GovernError, IntegrityError, SourceError
from govern.workflow.log.checkpoints import KeptCheckpoint, check_kept, newest, read
from govern.workspace import Workspace, write_atomic

SECONDS: Final = 20.0
"""How long a witness may take."""

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True)
class Collected:
    """The checkpoint, when each witness cosigned it, why others did not (both by name), and whether that is enough."""

    kept: KeptCheckpoint
    cosigned: dict[str, int]
    problems: dict[str, str]
    met: bool


def collect(workspace: Path, quorum: Quorum) -> Collected:
    """Put the newest checkpoint to each witness that has not cosigned it yet, and keep the lines that come back.

    What a witness answers counts by its signature alone. Raises UsageError where there is no checkpoint, IntegrityError
    where the log does not hold.
    """
    place = Workspace.open(workspace)
    problems: dict[str, str] = {}
    with Log.read(place.database) as log:
        kept = newest(place, log)
        seen = [
            (found.checkpoint.size, quorum.cosigned(found.note)) for found in check_kept(place, log, log.tree_head())
        ]
        for witness in quorum.witnesses:
            if witness.name in seen[-1][1]:
                continue
            old = max((size for size, names in seen if witness.name in names), default=0)
            try:
                lines = _submit(log, kept, witness, old)
                kept = _keep(place, kept, witness, lines)
            except GovernError as error:
                problems[witness.name] = error.message
    cosigned = quorum.cosigned(kept.note)
    return Collected(kept, cosigned, problems, quorum.met(cosigned))


def _submit(log: Log, kept: KeptCheckpoint, witness: Witness, old: int) -> bytes:
    """What the witness answers. It is asked once more, from where it says that its memory ends."""
    if witness.url is None or urlsplit(witness.url).scheme not in ("http", "https"):
        raise SourceError("the quorum file has no address of it")
    size = kept.checkpoint.size
    for _ in range(2):
        if old > size:
            raise SourceError(f"it knows {old} events of this log, and the newest checkpoint here is of {size}")
        hashes = log.prove_consistency(old, size) if 0 < old < size else []
        answer = _ask(witness.url, format_request(CosigningRequest(old, tuple(hashes), own_note(kept.note))))
        if answer.status == 200:
            return answer.body
        told = _SIZE.fullmatch(answer.body)
        if answer.status != 409 or not told:
            raise SourceError(f"it answered with status {answer.status}")
        old = int(told[1])
    raise SourceError("what it says that it knows does not stay the same")


def _ask(url: str, request: bytes) -> web.Answer:
    asked = urllib.request.Request(f"{url.rstrip('/')}/add-checkpoint", data=request, method="POST")  # noqa: S310
    try:
        answer = web.exchange(asked, most=limits.NOTE_BYTES + 1, seconds=SECONDS)
    except web.TooSlow as error:
        raise SourceError(str(error)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"it cannot be reached: {type(getattr(error, 'reason', error)).__name__}") from None
    limits.check_size(answer.body, limits.NOTE_BYTES, "answer")
    return answer


def _keep(place: Workspace, kept: KeptCheckpoint, witness: Witness, lines: bytes) -> KeptCheckpoint:
    """Put the witness's line under the checkpoint; lines by others are not looked at. Raises IntegrityError."""
    cosigner = witness.cosigner
    for line in lines.splitlines(keepends=True)[: limits.NOTE_SIGNATURES]:
        try:
            ours = split_line(line.decode().removesuffix("\n"))[:2] == (cosigner.name, cosigner.key_id)
        except (IntegrityError, UnicodeDecodeError):
            continue
        if ours:
            with FileLock(place.root / ".cosign.lock"):
                note = add_cosignature(read(kept.path), line, cosigner)
                write_atomic(kept.path, note)
            return KeptCheckpoint(kept.checkpoint, note, kept.path, kept.verifier)
    raise IntegrityError("there is no cosignature by its key in what it answered")
