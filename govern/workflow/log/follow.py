"""`govern audit follow`: what somebody else's log hands out, held against what was seen of it before."""

from __future__ import annotations

import http.client
import os
import stat
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock

from govern import limits, web
from govern.audit import Checkpoint, LogVerifier, merkle, open_checkpoint, parse_event
from govern.audit.quorum import Quorum
from govern.audit.tiles import CHECKPOINT, Read, Tree
from govern.errors import IntegrityError, SourceError, UsageError, at
from govern.records import Event
from govern.workflow.log.checkpoints import read, write
from govern.workspace import writing

SECONDS: Final = 60.0
"""How long a server may take to hand out one file."""

_GZIP: Final = 31
_NONE: Final = (403, 404, 410)  # a bucket that may not be listed says 403 of what it does not have


@dataclass(frozen=True)
class Followed:
    """A log as it is handed out now, and the checkpoint of it that was seen before, if any.

    `types` counts the new events that name one of the models, by their type, where models were given. `cosigned` says
    when each witness of the quorum file saw the checkpoint, in seconds since 1970.
    """

    checkpoint: Checkpoint
    known: Checkpoint | None
    types: dict[str, int]
    cosigned: dict[str, int]


@contextmanager
def follow(
    source: str,
    seen: Path,
    *,
    verifier: LogVerifier,
    models: Sequence[str] = (),
    events: Sequence[Path] = (),
    quorum: Quorum | None = None,
) -> Iterator[Followed]:
    """Read a log's tiles at a URL or in a folder, and check that the log only grew since the checkpoint in `seen`.

    With `models`, by their digests, every event that is new is read. Each file of `events` holds an event's exact
    bytes, which must be in the log. The checkpoint goes into `seen` once the block ends well, so that nothing is missed
    by who is killed in it. Raises IntegrityError where the log was rewritten, went
    back or is malformed, and keeps a checkpoint that contradicts `seen` beside it; SourceError where it cannot be had.
    """
    fetch = read_source(source)
    lock = FileLock(seen.with_name(f".{seen.name}.lock"))
    with writing("what was seen", seen):
        lock.acquire()
    try:
        known = read_checkpoint(seen, verifier)
        note = fetch(CHECKPOINT, limits.NOTE_BYTES)
        if note is None:
            raise SourceError("no log hands out a checkpoint here", where=source, hint="Name the folder of its tiles.")
        with at(source):
            checkpoint = open_checkpoint(note, verifier)
            cosigned = quorum.check(note) if quorum else {}
            tree = Tree(fetch, checkpoint.size)
            tree.check(checkpoint)
            if known:
                _check_growth(tree, known, checkpoint, note, seen)
            for event in events:
                _check_included(tree, checkpoint, event)
            types = _types(tree, known.size if known else 0, checkpoint, models) if models else {}
        yield Followed(checkpoint, known, types, cosigned)
        write(seen, note)
    finally:
        lock.release()


def read_source(source: str) -> Read:
    """What reads a log's tiles: at a URL, or in a folder. Raises UsageError where it is neither."""
    try:
        parts = urlsplit(source)
        usable = parts.scheme not in ("http", "https") or bool(parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UsageError("this is no log's address", where=source, hint="Such as https://log.example.org/govern/.")
    if parts.password:
        raise UsageError("a password has no place in an argument", hint="Use a log that is open to who may read it.")
    return _read_web(source) if parts.scheme in ("http", "https") else read_folder(Path(source))


def read_folder(folder: Path) -> Read:
    """What reads a log's tiles in a folder. What is no plain file is not there."""

    def read(path: str, most: int) -> bytes | None:
        try:
            descriptor = os.open(folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"it cannot be read: {error.strerror}", where=str(folder / path)) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        with os.fdopen(descriptor, "rb") as stream:
            return _bounded(stream.read(most + 1), most, path)

    return read


def read_checkpoint(path: Path, verifier: LogVerifier) -> Checkpoint | None:
    """The checkpoint in a file, None where there is none. Raises IntegrityError naming it."""
    note = read_folder(path.parent)(path.name, limits.NOTE_BYTES)
    if note is None:
        return None
    with at(path):
        return open_checkpoint(note, verifier)


def _read_web(base: str) -> Read:
    def read(path: str, most: int) -> bytes | None:
        url = f"{base.rstrip('/')}/{path}"
        asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip, identity"})  # noqa: S310
        try:
            answer = web.exchange(asked, most=most + 1, seconds=SECONDS)
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = str(error) if isinstance(error, web.TooSlow) else type(getattr(error, "reason", error)).__name__
            raise SourceError(f"it cannot be read: {problem}", where=url) from None
        if answer.status in _NONE:
            return None
        if answer.status != 200:
            raise SourceError(f"the server answered with status {answer.status}", where=url)
        body = answer.body
        if answer.encoding == "gzip":
            try:
                body = zlib.decompressobj(_GZIP).decompress(body, most + 1)
            except zlib.error:
                raise IntegrityError("it is not the gzip that it says it is", where=path) from None
        return _bounded(body, most, path)

    return read


def _bounded(data: bytes, most: int, path: str) -> bytes:
    if len(data) > most:
        raise IntegrityError(f"it has more than {most:,} bytes", where=path)
    return data


def _check_growth(tree: Tree, known: Checkpoint, checkpoint: Checkpoint, note: bytes, seen: Path) -> None:
    try:
        tree.check_growth(known, checkpoint)
    except IntegrityError as error:
        contrary = seen.with_name(f"{seen.name}.contrary")
        write(contrary, note)
        raise IntegrityError(error.message, hint=f"Keep both as evidence: {seen} and {contrary}.") from None


def _check_included(tree: Tree, checkpoint: Checkpoint, path: Path) -> None:
    body = read(path)
    with at(path):
        seq = _parse(body, checkpoint).seq
        if seq >= tree.size:
            raise IntegrityError(f"the log has {tree.size} events, and this would be number {seq}")
        merkle.verify_inclusion(merkle.leaf_hash(body), seq, tree.size, tree.prove(seq), checkpoint.root)


def _parse(body: bytes, checkpoint: Checkpoint) -> Event:
    try:
        event = parse_event(body)
    except ValueError as error:
        raise IntegrityError(str(error)) from None
    if event.origin != checkpoint.origin:
        raise IntegrityError("the event is of another log")
    return event


def _types(tree: Tree, start: int, checkpoint: Checkpoint, models: Sequence[str]) -> dict[str, int]:
    """How many of the events from `start` on name one of the models, by type. Raises IntegrityError."""
    wanted, types = set(models), Counter[str]()
    for seq, body in enumerate(tree.entries(start, checkpoint.root), start):
        with at(f"event {seq}"):
            event = _parse(body, checkpoint)
            if event.seq != seq:
                raise IntegrityError(f"it says that it is number {event.seq}")
        if wanted & {event.model_before, event.model_after}:
            types[event.type] += 1
    return dict(sorted(types.items()))
