"""`govern audit checkpoint`: the log's head, signed, to be kept where the log is not.

A checkpoint is no event: the event would change the head that was just signed. It lies in `checkpoints/SIZE` of the
workspace, and the keys that may sign one are those that the log itself names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from govern.audit import Checkpoint, Log, LogVerifier, open_checkpoint, parse_vkey, sign_checkpoint, split_notes
from govern.errors import IntegrityError, UsageError, at
from govern.records.told import KeyGenerated, told
from govern.signing import LogKey
from govern.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class KeptCheckpoint:
    """A checkpoint, its signed note verbatim, the file that holds it and the key that signed it."""

    checkpoint: Checkpoint
    note: bytes
    path: Path
    verifier: LogVerifier


def sign_head(workspace: Path, *, key: LogKey, out: Path | None = None) -> KeptCheckpoint:
    """Sign the log's head and keep it, in the new file `out` as well where it is given.

    The whole log is recomputed first and held against every checkpoint that the workspace keeps: what was cut or
    rewritten is not signed. Raises IntegrityError there, UsageError where the log does not name the key or `out`
    exists.
    """
    if out is not None:
        refuse_existing(out)
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        tree = log.verify().tree
        verifier = LogVerifier(tree.origin, key.public)
        if verifier not in log_verifiers(log):
            raise UsageError(
                "the log does not name this key",
                where=verifier.vkey,
                hint="Make a key for this log: govern keys generate --log",
            )
        earlier = check_kept(place, log, tree)
    if earlier and earlier[-1].checkpoint == tree:
        kept = earlier[-1]
    else:
        kept = KeptCheckpoint(
            tree, sign_checkpoint(tree, verifier, key.sign), _folder(place) / str(tree.size), verifier
        )
        kept.path.parent.mkdir(exist_ok=True)
        write_atomic(kept.path, kept.note)
    if out is not None:
        write(out, kept.note)
    return kept


def newest(place: Workspace, log: Log) -> KeptCheckpoint:
    """The newest checkpoint that the workspace keeps, held against the log. Raises UsageError where there is none."""
    kept = check_kept(place, log, log.tree_head())
    if not kept:
        raise UsageError(
            "there is no checkpoint of this log yet", where=str(place.root), hint="Sign one: govern audit checkpoint"
        )
    return kept[-1]


def check_kept(place: Workspace, log: Log, tree: Checkpoint) -> list[KeptCheckpoint]:
    """Hold every checkpoint that the workspace keeps against the log's `tree`, oldest first. Raises IntegrityError."""
    paths = kept_paths(place)
    verifiers = log_verifiers(log) if paths else []
    return [check_one(path, log, tree, verifiers) for path in paths]


def check_one(path: Path, log: Log, tree: Checkpoint, verifiers: Sequence[LogVerifier]) -> KeptCheckpoint:
    """Hold one checkpoint that the workspace keeps against the log's `tree`. Raises IntegrityError naming its file."""
    with at(path):
        try:
            note = path.read_bytes()
        except OSError as error:
            raise IntegrityError(f"the checkpoint cannot be read: {error.strerror}") from None
        kept = _open(note, path, verifiers)
        if path.name != str(kept.checkpoint.size):
            raise IntegrityError(f"this is the checkpoint of {kept.checkpoint.size} events, under another name")
        log.check_prefix(tree, kept.checkpoint)
    return kept


def kept_paths(place: Workspace) -> list[Path]:
    """The checkpoints that the workspace keeps, oldest first; what has no number for a name comes last."""
    folder = _folder(place)
    # Temporary files of a write that was killed begin with a dot.
    found = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda path: (not path.name.isdecimal(), len(path.name), path.name))


def log_verifiers(log: Log) -> list[LogVerifier]:
    """The keys that may sign checkpoints of a log: those that it names."""
    verifiers = []
    for stored in log.events(type="key.generated"):
        if (vkey := told(stored.event, KeyGenerated).vkey) is not None:
            with at(f"{log.where} event {stored.event.seq}"):
                verifiers.append(parse_vkey(vkey))
    return verifiers


def read_series(path: Path, verifiers: Sequence[LogVerifier]) -> list[KeptCheckpoint]:
    """The checkpoints in a file that was kept elsewhere: one, or a witness's series, all of one key and growing.

    Raises UsageError where it cannot be read, IntegrityError naming it where it is not such a file.
    """
    with at(path):
        series = [_open(note, path, verifiers) for note in split_notes(read(path))]
        if not series:
            raise IntegrityError("there is no checkpoint in it")
        sizes = [kept.checkpoint.size for kept in series]
        if sizes != sorted(set(sizes)):
            raise IntegrityError("its checkpoints do not grow: some were reordered, repeated or put in")
        if len({kept.verifier for kept in series}) > 1:
            raise IntegrityError("its checkpoints are signed by different keys", hint="Begin a new file for a new key.")
    return series


def read(path: Path) -> bytes:
    """A file that somebody named. Raises UsageError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"it cannot be read: {error.strerror}", where=str(path)) from None


def write(path: Path, data: bytes) -> None:
    """Write a file that somebody named. Raises UsageError where it cannot be written."""
    try:
        write_atomic(path, data)
    except OSError as error:
        raise UsageError(f"it cannot be written: {error.strerror}", where=str(path)) from None


def refuse_existing(path: Path) -> None:
    """Raise UsageError where a file that somebody named exists: evidence is never written over."""
    if path.exists():
        raise UsageError(
            "this file exists, and evidence is never written over", where=str(path), hint="Name a new one."
        )


def _open(note: bytes, path: Path, verifiers: Sequence[LogVerifier]) -> KeptCheckpoint:
    """Read a checkpoint that one of the keys signed. Raises IntegrityError."""
    refused = IntegrityError("the log names no key that signs checkpoints")
    for verifier in verifiers:
        try:
            return KeptCheckpoint(open_checkpoint(note, verifier), note, path, verifier)
        except IntegrityError as error:
            refused = error
    raise refused


def _folder(place: Workspace) -> Path:
    return place.root / "checkpoints"
