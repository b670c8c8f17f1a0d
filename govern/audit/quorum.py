"""Quorum files: who must have cosigned a checkpoint before it counts (c2sp.org/tlog-policy).

A reader keeps one: the logs that it believes, the witnesses it knows, and how many of which must have cosigned. Keys
are Ed25519's alone here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from govern import limits
from govern.audit.checkpoint import Checkpoint, LogVerifier, open_checkpoint, open_note, parse_vkey
from govern.audit.cosignature import Cosigner, cosigned_at, parse_cosigner
from govern.errors import IntegrityError, at

_NONE: Final = "none"
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Witness:
    """A cosigner under the name that a quorum file has for it, and where it answers, if the file says."""

    name: str
    cosigner: Cosigner
    url: str | None


@dataclass(frozen=True)
class Group:
    """It has witnessed a checkpoint where `least` of its members have: witnesses, or groups that came before."""

    name: str
    least: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Quorum:
    """A quorum file. `required` names the witness or the group that must have witnessed, None for nobody."""

    logs: tuple[LogVerifier, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    required: str | None

    def open(self, note: bytes) -> Checkpoint:
        """The checkpoint of a note that one of the file's logs signed. Raises IntegrityError."""
        refused = IntegrityError("the quorum file does not name this checkpoint's log")
        origin = open_note(note)[0].origin
        for log in self.logs:
            if log.name == origin:
                try:
                    return open_checkpoint(note, log)
                except IntegrityError as error:
                    refused = error
        raise refused

    def check(self, note: bytes) -> dict[str, int]:
        """When each witness saw the checkpoint, by its verifier key, in seconds since 1970.

        Where the file names logs, one of them must have signed. Raises IntegrityError where it did not, or those who
        cosigned are too few.
        """
        if self.logs:
            self.open(note)
        seen = self.cosigned(note)
        if not self.met(seen):
            # Names that look alike may differ.
            names = ", ".join(name.encode("ascii", "backslashreplace").decode() for name in seen) or "none"
            raise IntegrityError(
                f"too few witnesses cosigned the checkpoint: {self.required} is required, {names} did",
                hint="Ask the witnesses again, or wait for them: govern audit collect-cosignatures",
            )
        return {witness.cosigner.vkey: seen[witness.name] for witness in self.witnesses if witness.name in seen}

    def cosigned(self, note: bytes) -> dict[str, int]:
        """The witnesses, by name, whose cosignature on a note holds, and when they made it."""
        seen: dict[str, int] = {}
        present = {signature[:2] for signature in open_note(note)[1]}
        for witness in self.witnesses:
            if (witness.cosigner.name, witness.cosigner.key_id) in present:
                seen[witness.name] = cosigned_at(note, witness.cosigner)
        return seen

    def met(self, seen: Mapping[str, int]) -> bool:
        """Whether the witnesses that cosigned are enough."""
        counted = set(seen)
        for group in self.groups:
            if sum(member in counted for member in group.members) >= group.least:
                counted.add(group.name)
        return self.required is None or self.required in counted


def parse_quorum(data: bytes) -> Quorum:
    """Read a quorum file. Raises IntegrityError naming the line that is wrong."""
    limits.check_size(data, limits.QUORUM_BYTES, "quorum file")
    if _FORBIDDEN.search(data):
        raise IntegrityError("the quorum file holds a control character")
    found = _Reading()
    # Names are bytes, whatever they mean: nothing is normalised.
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = re.split(r"[ \t]+", line.strip(" \t"))
        if words != [""] and not words[0].startswith("#"):
            with at(f"line {number}"):
                try:
                    found.add(words)
                except UnicodeEncodeError:
                    raise IntegrityError("the key's name is not UTF-8") from None
    if not found.quorums:
        raise IntegrityError("the quorum file has no line that says what the quorum is")
    required = found.quorums[0]
    return Quorum(
        tuple(found.logs.values()),
        tuple(found.witnesses.values()),
        tuple(found.groups.values()),
        None if required == _NONE else required,
    )


class _Reading:
    """What the lines so far have said. Logs and witnesses are kept by their key, groups by their name."""

    def __init__(self) -> None:
        self.logs: dict[bytes, LogVerifier] = {}
        self.witnesses: dict[bytes, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorums: list[str] = []
        self._free: dict[str, bool] = {}
        """Each name that was defined, and whether no group has it yet."""

    def add(self, words: list[str]) -> None:
        if max(len(self.logs), len(self.witnesses), len(self.groups)) >= limits.QUORUM_NAMES:
            raise IntegrityError(f"the quorum file has more than {limits.QUORUM_NAMES} lines of one kind")
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                log = parse_vkey(vkey)
                if self.logs.setdefault(log.key, log) is not log:
                    raise IntegrityError("this log's key was there before")
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._define(name)
                witness = Witness(name, parse_cosigner(vkey), url[0] if url else None)
                if self.witnesses.setdefault(witness.cosigner.key, witness) is not witness:
                    raise IntegrityError("this witness's key was there before")
            case ["group", name, count, *members] if members:
                for member in members:
                    if not self._free.get(member):
                        raise IntegrityError("a group's member is one name that was defined before, and in no group")
                    self._free[member] = False
                least = {"all": len(members), "any": 1}.get(count) or self._threshold(count, len(members))
                self._define(name)
                self.groups[name] = Group(name, least, tuple(members))
            case ["quorum", name]:
                if self.quorums or (name != _NONE and name not in self._free):
                    raise IntegrityError("there is one quorum, a witness or a group that was defined before, or none")
                self.quorums.append(name)
            case _:
                raise IntegrityError("this is no line of a quorum file (log, witness, group, quorum)")

    def _define(self, name: str) -> None:
        if name == _NONE or name in self._free:
            raise IntegrityError("this name is taken")
        self._free[name] = True

    @staticmethod
    def _threshold(text: str, members: int) -> int:
        if not _THRESHOLD.fullmatch(text) or int(text) > members:
            raise IntegrityError("a group asks for all, any, or a number from 1 to that of its members")
        return int(text)
