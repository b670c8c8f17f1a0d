"""`govern export`: a removal becomes a normal model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.errors import IntegrityError
from govern.models import export_model, model_digest, read_delta
from govern.progress import Progress, silent
from govern.sources import resolve_model
from govern.workflow.runs import DELTA, applied_run, check_artefacts, events_of, stored_policy, stored_removal
from govern.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Exported:
    """A model folder that anybody can load, and its digest."""

    run: RunFolder
    path: Path
    model_digest: str


def export(run_id: str | None, out: Path, *, workspace: Path, progress: Progress = silent) -> Exported:
    """Write the edited model of a run to `out`. Raises IntegrityError where it is not the model of the removal."""
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False, trust=place.trust) as log:
        run = applied_run(place, log, run_id)
        events = events_of(log, run)
        check_artefacts(run, events)
        loaded, removal = stored_policy(run, events), stored_removal(run)
        model = loaded.policy.model
        base = resolve_model(model.source, revision=model.revision, base=loaded.path.parent, progress=progress)
        found = model_digest(base.path)
        if found != removal.base_model_digest:
            raise IntegrityError(
                f"the base model changed: the removal was made on sha256:{removal.base_model_digest}, "
                f"it is sha256:{found}",
                where=str(base.path),
            )
        delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=removal.base_model_digest)
        digest = export_model(base.path, delta, out)
        if digest != removal.edited_model_digest:
            raise IntegrityError(
                f"the exported model is sha256:{digest}, the removal promised sha256:{removal.edited_model_digest}",
                where=str(out),
            )
        log.append(
            "export.finished",
            run=run.id,
            policy_digest=loaded.digest,
            model_before=removal.base_model_digest,
            model_after=digest,
            parameters={"folder": str(out.absolute())},
        )
    return Exported(run, out, digest)
