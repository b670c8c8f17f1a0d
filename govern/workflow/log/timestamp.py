"""`govern audit timestamp`: a stranger with a clock signs that a checkpoint was there."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from govern.audit import Checkpoint, LogVerifier, open_checkpoint, own_note, split_notes
from govern.errors import GovernError, IntegrityError, UsageError, at
from govern.signing.timestamp import Timestamp, timestamp_request, verify_timestamp
from govern.workflow.log.checkpoints import read, refuse_existing, write

TIMEOUT: Final = 60  # seconds
_MOST_BYTES: Final = 1 << 20


def request_timestamp(checkpoint: Path, out: Path) -> None:
    """Write a request for a checkpoint's timestamp to the new file `out`, to be carried to an authority."""
    refuse_existing(out)
    write(out, timestamp_request(_stamped(checkpoint)))


def fetch_timestamp(checkpoint: Path, out: Path, *, url: str, roots: Path) -> Timestamp:
    """Ask the authority at `url`, and keep its response in the new file `out`, once it holds; the request beside it.

    Only a digest leaves the house. Raises GovernError where the authority cannot be reached, IntegrityError where what
    it says does not hold under the certificates in `roots`.
    """
    asked = request_path(out)
    refuse_existing(out)
    refuse_existing(asked)
    data, trusted = _stamped(checkpoint), read(roots)
    request = timestamp_request(data)
    response = _post(url, request)
    try:
        stamp = verify_timestamp(response, data, roots=trusted, request=request)
    except IntegrityError as error:
        raise IntegrityError(error.message, where=url, hint=error.hint) from None
    write(asked, request)
    write(out, response)
    return stamp


def check_timestamp(
    checkpoint: Path, response: Path, *, roots: Path, verifier: LogVerifier, request: Path | None = None
) -> tuple[Checkpoint, Timestamp]:
    """Check that a checkpoint of the log that `verifier` signs for was there at the time that an authority tells.

    Raises IntegrityError naming the file that is not what it must be.
    """
    data = _stamped(checkpoint)
    with at(checkpoint):
        found = open_checkpoint(data, verifier)
    with at(response):
        stamp = verify_timestamp(read(response), data, roots=read(roots), request=read(request) if request else None)
    return found, stamp


def request_path(response: Path) -> Path:
    """Where the request of a response lies: beside it, as `.tsq`. Raises UsageError for a response of that name."""
    if response.suffix == ".tsq":
        raise UsageError("a response cannot end in .tsq", where=str(response), hint="Name it, say, checkpoint.tsr.")
    return response.with_suffix(".tsq")


def _stamped(checkpoint: Path) -> bytes:
    """What is stamped: a checkpoint as the log signed it, whoever cosigned it since."""
    with at(checkpoint):
        notes = split_notes(read(checkpoint))
        if len(notes) != 1:
            raise IntegrityError("this is not one checkpoint")
        return own_note(notes[0])


def _post(url: str, request: bytes) -> bytes:
    """One exchange of RFC 3161 section 3.4. Plain http will do: what comes back is signed and answers our nonce."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise UsageError("this is not an authority's URL", where=url, hint="It begins with https:// or http://.")
    if parts.password:
        raise UsageError("a password has no place in an argument", where="--tsa")
    asked = urllib.request.Request(  # noqa: S310 - the scheme is one of two
        url, data=request, headers={"Content-Type": "application/timestamp-query"}, method="POST"
    )
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:  # noqa: S310
            response: bytes = answer.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise GovernError(
            f"the authority cannot be asked: {getattr(error, 'reason', error)}",
            where=url,
            hint="Carry a request there by hand: govern audit timestamp --request-out FILE",
        ) from None
    if len(response) > _MOST_BYTES:
        raise GovernError(f"the authority's answer has more than {_MOST_BYTES} bytes", where=url)
    return response
