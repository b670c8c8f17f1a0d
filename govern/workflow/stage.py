"""One stage of a run, such as its removal or a verification: the log learns how it begins and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from govern.audit import Log, Stored
from govern.errors import GovernError, Interrupted
from govern.records import EventType
from govern.workspace import RunFolder

StageName = Literal["apply", "sweep", "verify", "stress", "benchmark", "reproduce"]


@dataclass
class Stage:
    """A stage that has begun.

    `about` is what a failure names beside its reason, as `Log.append` takes it: whoever runs the stage adds what it
    learns. `finished` is the event that ended it, None until then.
    """

    log: Log
    name: StageName
    run: RunFolder
    about: dict[str, Any]
    finished: Stored | None = field(default=None, init=False)

    def finish(self, **told: Any) -> Stored:
        """Log that the stage ended well. `told` is what `Log.append` takes, and stands before what it is `about`."""
        self.finished = self.log.append(
            cast(EventType, f"{self.name}.finished"), run=self.run.id, **{**self.about, **told}
        )
        return self.finished


@contextmanager
def stage(
    log: Log, name: StageName, run: RunFolder, *, about: dict[str, Any], interrupted: str, go_on: str
) -> Iterator[Stage]:
    """Run a stage whose first event is in the log, and make sure that the log learns how it ends.

    What raises within is logged as failed, and raised again. Ctrl-C is no failure: it raises Interrupted, which says
    what was `interrupted` and how to `go_on`. Leaving without `finish` is our defect, logged as a failure too.
    """
    current = Stage(log, name, run, about)
    try:
        yield current
        if current.finished is None:
            raise RuntimeError(f"the stage {name} of {run.id} ended without a word")
    except Exception as error:
        if current.finished is None:
            # The message of an unforeseen error may quote text, so the log gets its kind alone.
            reason = error.message if isinstance(error, GovernError) else type(error).__name__
            parameters = {**current.about.get("parameters", {}), "error": reason}
            log.append(cast(EventType, f"{name}.failed"), run=run.id, **{**current.about, "parameters": parameters})
        raise
    except KeyboardInterrupt:
        raise Interrupted(interrupted, where=str(run.root), hint=go_on) from None
