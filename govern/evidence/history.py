"""A log's events as claims are held against them: in their order, with the artefacts that they bind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from govern.audit.body import Stored
from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.records import AuditPosition, Event, EventType

Read = Callable[[str], bytes]
"""Reads an artefact by its name. Raises IntegrityError where it is missing."""

FORGED: Final = "Somebody else wrote it into the log. Keep the log as evidence, and restore it from a backup."


class History:
    """A log's events, in their order, read once.

    An event's time is its writer's word. What counts is the order: an event is as late as the latest before it says.
    """

    def __init__(self, entries: Iterable[Stored]) -> None:
        """Take in the events of a log that checked out, oldest first."""
        self.entries = tuple(entries)
        self._by_run: dict[str | None, list[Stored]] = {}
        self._times: list[str] = []
        latest = ""
        for stored in self.entries:
            self._by_run.setdefault(stored.event.run, []).append(stored)
            latest = max(latest, f"{stored.event.time[:19]}Z")
            self._times.append(latest)

    @property
    def origin(self) -> str | None:
        """The log's name; None where it has no events."""
        return self.entries[0].event.origin if self.entries else None

    def of(self, run: str | None, *types: EventType) -> list[Stored]:
        """The events of a run, of these types where any are named."""
        return [stored for stored in self._by_run.get(run, ()) if not types or stored.event.type in types]

    def all(self, *types: EventType) -> list[Stored]:
        """The events of these types, of whatever run."""
        return [stored for stored in self.entries if stored.event.type in types]

    def logged(self, stored: Stored) -> str:
        """When the log took an event in (`UtcTime`): no earlier than anything before it, whatever the clock said."""
        return self._times[stored.event.seq]

    def took_in(self, statement: str, audit: AuditPosition) -> Stored | None:
        """The event that takes in what somebody signed at `audit`, by its statement's SHA-256.

        None where it is another log's, or where this is an older copy of the log. Raises IntegrityError where this log
        has gone on from there otherwise, or knows nothing of the statement.
        """
        if audit.origin != self.origin or audit.seq >= len(self.entries) - 1:
            return None
        if self.entries[audit.seq].leaf != audit.leaf:
            raise IntegrityError(
                f"it stands on event {audit.seq} with leaf sha256:{audit.leaf}, and the log has "
                f"sha256:{self.entries[audit.seq].leaf} there",
                hint="The log was cut or replaced after it was signed. Restore it from a backup.",
            )
        for stored in self.entries[audit.seq + 1 :]:
            event = stored.event
            if statement in event.digests.values() or event.parameters.get("statement") == statement:
                return stored
        raise IntegrityError(
            "the log that it stands on, which is this workspace's, knows nothing of it",
            hint="Ask the issuer which one is theirs. Do not rely on this one.",
        )

    def has(self, stored: Stored, seq: int, origin: str, leaf: str) -> bool:
        """Whether the log has that event before `stored`."""
        before = self.entries[seq] if seq < stored.event.seq else None
        return before is not None and (before.event.origin, before.leaf) == (origin, leaf)


def bound(event: Event, path: str, read: Read) -> bytes:
    """A file as an event binds it."""
    data = read(path)
    if path not in event.digests:
        raise forged(event, f"does not bind {path}")
    if (found := sha256_bytes(data)) != event.digests[path]:
        raise IntegrityError(
            f"{path} was changed: the log knows it as sha256:{event.digests[path]}, it is sha256:{found}",
            hint="Restore it from a backup. Treat what rests on it as unproven until then.",
        )
    return data


def forged(event: Event, what: str) -> IntegrityError:
    """What to raise where an event says what govern never wrote."""
    return IntegrityError(f"event {event.seq}, {event.type}, {what}", hint=FORGED)
