"""Everything that is wrong with a log, for the one who has to repair it. `verify` stops at the first finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from govern.audit.inspection import Damage
from govern.audit.log import Log
from govern.errors import IntegrityError


def fsck(database: Path | str) -> Iterator[Damage]:
    """Look at a log's database, its tables and triggers, and every event.

    Raises UsageError where there is no log and GovernError where it cannot be read; damage is yielded, not raised.
    """
    try:
        with Log.read(database, checked=False) as log:
            yield from log.damage()
            for finding in log.findings():
                yield Damage(f"event {finding.seq}", finding.difference)
    except IntegrityError as error:
        # The database cannot be read on from here.
        yield Damage("file" if isinstance(database, Path) else "database", error.message)
