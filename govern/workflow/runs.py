"""Finding runs by what the log says of them, and holding their artefacts against it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from govern.audit import Log
from govern.digests import sha256_file
from govern.errors import IntegrityError, UsageError
from govern.evidence.claims import RunFacts, believe_run
from govern.evidence.history import History
from govern.records import Event, Plan, Removal, Sweep, Verification
from govern.records.told import ApplyBegan, RunPruned, VerifyFinished, ran_in, told
from govern.workflow.files import PLAN, POLICY, REMOVAL, SWEEP
from govern.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from govern.policy import LoadedPolicy

LATEST = "latest"
"""What the latest applied run is called."""


def events_of(log: Log, run: RunFolder) -> list[Event]:
    """All events of one run, oldest first."""
    return [stored.event for stored in log.events(run=run.id)]


def read_history(place: Workspace) -> History | None:
    """All events of a workspace's log, checked; None where it has no log. Raises IntegrityError."""
    if isinstance(place.database, Path) and not place.database.exists():
        return None
    with Log.read(place.database) as log:
        log.verify()
        return History(log.events())


def believed(history: History, run: RunFolder) -> RunFacts:
    """All that is believed of a run, once its artefacts are those that the log knows. Raises IntegrityError."""
    check_artefacts(run, [stored.event for stored in history.of(run.id)])
    return believe_run(history, run.id, run.read, within=f"{run.root}/")


def logged_runs(workspace: Workspace, log: Log) -> list[RunFolder]:
    """Every run that the log knows, in its order.

    Raises IntegrityError where its folder is missing, or where a folder holds a run that the log does not know.
    """
    # Not by name: two runs may begin within one second.
    known = dict.fromkeys(stored.event.run for stored in log.events(type="apply.started") if stored.event.run)
    present = {run.id: run for run in workspace.runs()}
    for run in present.values():
        if run.id not in known and run.artefacts() - {POLICY}:
            raise IntegrityError(f"run {run.id} is not in the log", where=str(run.root))
    for name in sorted(known.keys() - present.keys()):
        raise IntegrityError(
            f"run {name} is in the log and its folder is missing", where=str(workspace.root / "runs" / name)
        )
    return [present[name] for name in known]


def refuse_lost_log(workspace: Workspace) -> None:
    """Raise IntegrityError where the log's file is gone and there are runs that it must have known."""
    database = workspace.database
    if isinstance(database, Path) and not database.exists():
        for run in [*workspace.runs(), *workspace.sweeps()]:
            if run.artefacts() - {POLICY}:
                raise IntegrityError(
                    f"the audit log is missing, and {run.id} is there",
                    where=str(database),
                    hint="Restore it from a backup that goes on from the newest checkpoint you trust.",
                )


def applied_run(workspace: Workspace, log: Log, run_id: str | None) -> RunFolder:
    """The run called `run_id`, or for None or `latest` the latest whose removal is finished.

    Raises UsageError where there is none.
    """
    if run_id not in (None, LATEST):
        run = workspace.run(run_id)
        if not any(event.type == "apply.finished" for event in events_of(log, run)):
            raise UsageError(
                f"run {run.id} has no finished removal",
                where=str(run.root),
                hint="Finish it with: govern apply --resume",
            )
        return run
    finished = [stored.event.run for stored in log.events(type="apply.finished")]
    if not finished or finished[-1] is None:
        raise UsageError(
            "there is no finished removal yet", where=str(workspace.root), hint="Start one: govern apply POLICY"
        )
    return workspace.run(finished[-1])


@contextmanager
def held_run(workspace: Path, run_id: str | None) -> Iterator[tuple[Workspace, Log, RunFolder, list[Event]]]:
    """A run, the latest applied one by default, held for one process, with the log, checked, and the run's events.

    Raises IntegrityError where the log does not hold, UsageError where there is no such run.
    """
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False, trust=place.trust) as log:
        log.verify()
        run = applied_run(place, log, run_id)
        with run.locked():
            yield place, log, run, events_of(log, run)


def unfinished_run(workspace: Workspace, log: Log, policy_sha256: str | None) -> RunFolder:
    """The latest run that was started and never finished, of one policy where it is given."""
    finished = {stored.event.run for stored in log.events(type="apply.finished")}
    open_runs = [
        stored.event
        for stored in log.events(type="apply.started")
        if stored.event.run not in finished and policy_sha256 in (None, stored.event.digests[POLICY])
    ]
    if not open_runs or open_runs[-1].run is None:
        raise UsageError(
            "there is no unfinished run to resume", where=str(workspace.root), hint="Start one: govern apply POLICY"
        )
    return workspace.run(open_runs[-1].run)


def bound_digests(events: list[Event]) -> dict[str, str]:
    """The SHA-256 of every artefact of a run, by the newest event that names it; without those that were pruned."""
    bound: dict[str, str] = {}
    for event in events:
        bound |= event.digests
        if event.type == "run.pruned":
            dropped = told(event, RunPruned).dropped
            bound = {name: digest for name, digest in bound.items() if name not in dropped}
    return bound


def refuse_revoked(run: RunFolder, events: list[Event]) -> None:
    """Raise UsageError where somebody revoked the removal: nothing is issued, signed or exported of it any more."""
    for event in events:
        if event.type == "removal.revoked":
            raise UsageError(
                f"the removal of run {run.id} was revoked on {event.time[:10]}",
                where=str(run.root),
                hint=f"Who and why: govern status {run.id}. Apply the policy again for a new removal.",
            )


def refuse_pruned(run: RunFolder, events: list[Event]) -> None:
    """Raise UsageError where the run's weights were dropped."""
    for event in events:
        if event.type == "run.pruned":
            raise UsageError(
                f"the weights of run {run.id} were pruned on {event.time[:10]}",
                where=str(run.root),
                hint=f"Its evidence stays. See whether the removal still comes out: govern reproduce {run.id}",
            )


def check_artefacts(run: RunFolder, events: list[Event]) -> int:
    """Hold every artefact of a run against the log, and count them. Raises IntegrityError naming what differs."""
    digests = bound_digests(events)
    for name, expected in digests.items():
        path = run.path(name)
        if unfinished_issue(run, events, name):
            raise IntegrityError(
                f"the newest report of run {run.id} is in the log, and {name} at the top of the run is not its own",
                where=str(path),
                hint="Issuing it was stopped half-way, or an older file was put back. Put the log's own in its place: "
                "govern audit repair",
            )
        if not path.is_file():
            raise IntegrityError(
                f"{name} is missing from run {run.id}, and the log knows it as sha256:{expected}", where=str(path)
            )
        found = sha256_file(path)
        if found != expected:
            raise IntegrityError(
                f"{name} of run {run.id} was changed: the log knows it as sha256:{expected}, it is sha256:{found}",
                where=str(path),
                hint="Restore it from a backup. Treat what rests on it as unproven until then.",
            )
    return len(digests)


def unfinished_issue(run: RunFolder, events: list[Event], name: str) -> str | None:
    """The file of the newest report that belongs to the top of the run as `name`, where an older one or none lies."""
    issued = [event for event in events if event.type == "report.issued"]
    digest = issued[-1].digests.get(name) if issued and "/" not in name else None
    kept = [path for path in issued[-1].digests if path.endswith(f"/{name}")] if issued else []
    if digest is None or len(kept) != 1 or not run.path(kept[0]).is_file() or sha256_file(run.path(kept[0])) != digest:
        return None
    found = sha256_file(run.path(name)) if run.path(name).is_file() else None
    older = {event.digests.get(name) for event in issued[:-1]} | {None}
    return kept[0] if found != digest and found in older else None


def finish_issue(run: RunFolder, events: list[Event]) -> bool:
    """Copy the newest report's files to the top of the run where a killed issue left older ones or none there.

    Says whether there were any.
    """
    issued = [event for event in events if event.type == "report.issued"]
    left = {
        name: kept for name in (issued[-1].digests if issued else ()) if (kept := unfinished_issue(run, events, name))
    }
    for name, kept in left.items():
        run.write(name, run.read(kept))
    return bool(left)


def verifications(events: list[Event], *, until: int | None = None) -> tuple[Verification, ...]:
    """A run's finished verifications, oldest first, up to the event `until` where it is given."""
    return tuple(
        _verification(event)
        for event in events
        if event.type == "verify.finished" and (until is None or event.seq <= until)
    )


def _verification(event: Event) -> Verification:
    finished, ran = told(event, VerifyFinished), ran_in(event)
    return Verification(
        time=event.time,
        verdict=finished.verdict,
        attempt=finished.attempt,
        harness=ran.packages.get("lm-eval", ""),
        govern=ran.govern,
    )


def stored_policy(run: RunFolder, events: list[Event]) -> LoadedPolicy:
    """The run's own copy of its policy; relative paths in it still start at the folder of the original."""
    from govern.policy import parse_policy

    started = next(event for event in events if event.type == "apply.started")
    return parse_policy(run.read(POLICY), path=Path(told(started, ApplyBegan).policy_path))


def stored_plan(run: RunFolder) -> Plan:
    """The run's plan."""
    return Plan.parse(run.read(PLAN))


def stored_removal(run: RunFolder) -> Removal:
    """The run's removal."""
    return Removal.parse(run.read(REMOVAL))


def stored_sweep(run: RunFolder, plan: Plan) -> Sweep | None:
    """The sweep that chose the run's parameters, None where the policy stated them."""
    return Sweep.parse(run.read(SWEEP)) if plan.sweep else None
