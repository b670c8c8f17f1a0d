"""`govern models log`: all that ever happened to a model, and to those that it came from and became."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from govern.audit import Log, Stored
from govern.errors import UsageError
from govern.records import Event
from govern.workspace import Workspace

# What a model is to the one that was asked about.
Relation = Literal["ancestor", "itself", "descendant"]

SHORTEST: Final = 8


@dataclass(frozen=True)
class Happened:
    """One event. `relation` says to which models it happened: those before, the one asked about, or those after it."""

    relation: Relation
    stored: Stored


@dataclass(frozen=True)
class ModelHistory:
    """A model and its kin, by digest, each list oldest first. `edits` maps a run to its model before and after."""

    digest: str
    ancestors: tuple[str, ...]
    descendants: tuple[str, ...]
    edits: Mapping[str, tuple[str, str]]
    events: tuple[Happened, ...]


def models_log(digest: str, *, workspace: Path) -> ModelHistory:
    """What the log knows of a model, through every edit that led to it and every one that was made of it.

    `digest` may be shortened to what names one model, 8 characters at least. Raises UsageError where it names none or
    several, IntegrityError where the log does not hold.
    """
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        log.verify()
        stored = list(log.events())
    found = _named([entry.event for entry in stored], digest)
    edits = {
        entry.event.run: (entry.event.model_before, entry.event.model_after)
        for entry in stored
        if entry.event.type == "apply.finished"
        and entry.event.run is not None
        and entry.event.model_before is not None
        and entry.event.model_after is not None
    }
    ancestors = _closure(found, edits.values(), lambda before, after: (after, before))
    descendants = _closure(found, edits.values(), lambda before, after: (before, after))
    return ModelHistory(
        digest=found,
        ancestors=tuple(reversed(ancestors)),
        descendants=tuple(descendants),
        edits={run: edit for run, edit in edits.items() if {*edit} <= {found, *ancestors, *descendants}},
        events=tuple(
            Happened(relation, entry)
            for entry in stored
            if (relation := _relation(entry.event, found, ancestors, descendants, edits)) is not None
        ),
    )


def _named(events: list[Event], digest: str) -> str:
    start = digest.removeprefix("sha256:").lower()
    if len(start) < SHORTEST or not all(character in "0123456789abcdef" for character in start):
        raise UsageError(
            f"{digest!r} is no digest of a model", hint=f"Give at least {SHORTEST} of its 64 hex characters."
        )
    known = dict.fromkeys(
        model for event in events for model in (event.model_before, event.model_after) if model is not None
    )
    found = [model for model in known if model.startswith(start)]
    if not found:
        raise UsageError(f"the log knows no model that begins with {start}", hint="See: govern audit log --json")
    if len(found) > 1:
        raise UsageError(f"{len(found)} models of the log begin with {start}", hint=f"They are: {', '.join(found)}")
    return found[0]


def _closure(start: str, edits: Iterable[tuple[str, str]], turned: Callable[[str, str], tuple[str, str]]) -> list[str]:
    """Every model that edits lead to from `start`, the nearest first. Edits may meet, and lead back."""
    steps = [turned(before, after) for before, after in edits]
    found: list[str] = []
    queue = [start]
    for model in queue:
        for one, other in steps:
            if one == model and other != start and other not in found:
                found.append(other)
                queue.append(other)
    return found


def _relation(
    event: Event, digest: str, ancestors: list[str], descendants: list[str], edits: Mapping[str, tuple[str, str]]
) -> Relation | None:
    """An event belongs to the edit that its run is; a try that came to nothing, to the model that it was made on."""
    before, after = edits.get(event.run or "", (event.model_before, event.model_after))
    if digest in (before, after):
        return "itself"
    if after in ancestors:
        return "ancestor"
    return "descendant" if before in descendants else None
