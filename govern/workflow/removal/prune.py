"""`govern runs prune`: weights go, evidence stays. The log names what went before it goes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from govern.audit import Log
from govern.errors import UsageError
from govern.records import Event
from govern.records.told import RunPruned
from govern.workflow.files import ATTACKING, CHECKPOINT, DELTA, MEASURING
from govern.workflow.runs import bound_digests, check_artefacts, events_of
from govern.workspace import RunFolder, Workspace

# State that a killed command may have left in a run's folder. No event binds it.
_UNBOUND: Final = (CHECKPOINT, MEASURING, ATTACKING)


@dataclass(frozen=True)
class Prunable:
    """What pruning drops of one run: files by their SHA-256, and how many bytes they take."""

    run: RunFolder
    dropped: dict[str, str]
    bytes: int


def find_prunable(
    workspace: Path, runs: Sequence[str] = (), *, keep: int | None = None, older_than: int | None = None
) -> list[Prunable]:
    """The weights of runs: of those that are named, of all but the newest `keep`, of those `older_than` days.

    Only finished runs have weights to drop. Raises UsageError where a run that is named is not finished, or where
    nothing says which runs are meant.
    """
    if not runs and keep is None and older_than is None:
        raise UsageError("say which runs", hint="Name them, or use --keep or --older-than.")
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        if runs:
            chosen = [place.run(run_id) for run_id in runs]
        else:
            finished = {stored.event.run: stored.event for stored in log.events(type="apply.finished")}
            present = {run.id: run for run in place.runs()}
            chosen = [present[run_id] for run_id in finished if run_id in present]  # in the log's order
            if keep is not None:
                chosen = chosen[: max(0, len(chosen) - keep)]
            if older_than is not None:
                limit = datetime.now(UTC) - timedelta(days=older_than)
                chosen = [run for run in chosen if datetime.fromisoformat(finished[run.id].time) < limit]
        found = [_prunable(run, events_of(log, run)) for run in chosen]
    return [entry for entry in found if entry.dropped or entry.bytes]


def prune(workspace: Path, chosen: Sequence[Prunable]) -> None:
    """Drop what `find_prunable` found, run by run: first the log says so, then the files go.

    A killed prune leaves files that the log says are gone; pruning again drops them. Raises GovernError where another
    process has a run, IntegrityError where one of its artefacts is not what it was: dropping it would hide that.
    """
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False, trust=place.trust) as log:
        log.verify()
        for entry in chosen:
            with entry.run.locked():
                events = events_of(log, entry.run)
                check_artefacts(entry.run, events)
                current = _prunable(entry.run, events)
                if current.dropped:
                    applied = _applied(entry.run, events)
                    log.append(
                        "run.pruned",
                        run=entry.run.id,
                        policy_digest=applied.policy_digest,
                        model_before=applied.model_before,
                        model_after=applied.model_after,
                        parameters=RunPruned(dropped=current.dropped, bytes=current.bytes).to_json(),
                    )
                for name in _weights(events):
                    entry.run.path(name).unlink(missing_ok=True)
                for name in (*_UNBOUND, "inputs"):
                    shutil.rmtree(entry.run.path(name), ignore_errors=True)


def _prunable(run: RunFolder, events: list[Event]) -> Prunable:
    _applied(run, events)
    bound = bound_digests(events)
    weights = _weights(events)
    paths = [run.path(name) for name in weights]
    paths += [path for name in _UNBOUND for path in run.path(name).rglob("*")]
    return Prunable(
        run=run,
        dropped={name: bound[name] for name in weights if name in bound},
        bytes=sum(path.stat().st_size for path in paths if path.is_file()),
    )


def _weights(events: list[Event]) -> list[str]:
    """The delta and the sampled tokens that the run's removal bound, whether they are still there or not."""
    bound = {name for event in events for name in event.digests}
    return sorted(name for name in bound if name == DELTA or name.startswith("inputs/"))


def _applied(run: RunFolder, events: list[Event]) -> Event:
    for event in events:
        if event.type == "apply.finished":
            return event
    raise UsageError(
        f"run {run.id} is not finished, so its files are still needed",
        where=str(run.root),
        hint="Finish it with: govern apply --resume",
    )
