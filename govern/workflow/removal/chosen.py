"""What a finished sweep chose, for a plan to take its parameters from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.errors import UsageError
from govern.policy import LoadedPolicy
from govern.records import Event, Plan, Sweep, SweepChoice
from govern.records.told import SweepFinished, told
from govern.unlearning.registry import method_named
from govern.unlearning.settings import MethodSettings
from govern.workflow.files import PLAN, SWEEP
from govern.workflow.runs import check_artefacts, events_of
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Chosen:
    """A finished sweep of a policy and the settings that it chose."""

    folder: RunFolder
    record: Sweep
    choice: SweepChoice
    settings: MethodSettings

    def refuse_other_inputs(self, plan: Plan) -> None:
        """Raise UsageError where the sweep chose for another model, other text or other questions than a plan's."""
        then = Plan.parse(self.folder.read(PLAN))
        changed = [name for name in ("model", "corpora", "tasks") if getattr(plan, name) != getattr(then, name)]
        if changed:
            raise UsageError(
                f"sweep {self.folder.id} chose for other inputs: {', '.join(changed)} changed since",
                where=str(self.folder.root),
                hint="Sweep again: govern sweep POLICY",
            )


def chosen_by(place: Workspace, log: Log, loaded: LoadedPolicy, sweep_id: str | None) -> Chosen | None:
    """What the sweep of that id chose, by default the latest finished one of this very policy; None where the policy
    leaves nothing to a sweep.

    Raises UsageError where there is no such sweep or it chose nothing, IntegrityError where it was changed.
    """
    if not loaded.policy.sweeps:
        if sweep_id is not None:
            raise UsageError(
                "the policy leaves nothing to a sweep", where=loaded.where("removal"), hint="Leave --sweep out."
            )
        return None
    event = _finished(log, loaded, None if sweep_id in (None, "latest") else sweep_id)
    folder = place.sweep(event.run or "")
    check_artefacts(folder, events_of(log, folder))
    record = Sweep.parse(folder.read(SWEEP))
    if record.chosen is None:
        raise UsageError(
            f"sweep {folder.id} chose nothing. {record.reason}",
            where=str(folder.root),
            hint="Sweep a wider grid, or write the settings that you answer for into the policy's `removal`.",
        )
    settings = record.points[record.chosen].settings
    choice = SweepChoice(sweep=folder.id, digest=record.sha256, point=record.chosen)
    return Chosen(folder, record, choice, method_named(str(settings["method"])).settings(settings))


def chosen_in(workspace: Path, loaded: LoadedPolicy, sweep_id: str | None) -> Chosen | None:
    """The same, from a workspace's own log."""
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        return chosen_by(place, log, loaded, sweep_id)


def _finished(log: Log, loaded: LoadedPolicy, sweep_id: str | None) -> Event:
    grids = [
        stored.event
        for stored in log.events(type="sweep.finished")
        if told(stored.event, SweepFinished).kind == "grid" and sweep_id in (None, stored.event.run)
    ]
    own = [event for event in grids if event.policy_digest == loaded.digest]
    if own:
        return own[-1]
    if grids and sweep_id is not None:
        raise UsageError(
            f"sweep {sweep_id} is of another policy, or of this one before it was changed",
            where=str(loaded.path),
            hint=f"Sweep this one: govern sweep {loaded.path}",
        )
    raise UsageError(
        "the policy leaves its settings to a sweep, and none of it is finished",
        where=loaded.where("removal"),
        hint=f"Sweep first: govern sweep {loaded.path}",
    )
