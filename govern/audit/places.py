"""Which events are of which run and which type."""

from __future__ import annotations

import threading
from array import array

from govern.audit.body import NO_PREV, Stored
from govern.records import EventType


class Places:
    """The numbers of the first `size` events by run and by type, eight bytes each.

    Built from bodies that were read and checked, and nowhere stored, so there is nothing that could be made to lie.
    """

    def __init__(self) -> None:
        self.size = 0
        self.leaf = NO_PREV
        self._seqs: dict[tuple[str, str | None], array[int]] = {}
        self._lock = threading.Lock()

    def add(self, stored: Stored) -> None:
        """Note an event; one that is known already changes nothing."""
        event = stored.event
        with self._lock:
            if event.seq >= self.size:
                for key in (("run", event.run), ("type", event.type)):
                    self._seqs.setdefault(key, array("q")).append(event.seq)
                self.size, self.leaf = event.seq + 1, stored.leaf

    def of(self, run: str | None, type: EventType | None) -> list[int]:  # noqa: A002
        """The numbers of a run's events, or else of a type's, in order."""
        return list(self._seqs.get(("type", type) if run is None else ("run", run), ()))
