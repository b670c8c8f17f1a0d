"""`govern apply`: a policy becomes a removal. `apply.started` is written before anything is resolved."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from govern.audit import Log
from govern.corpora import write_tokens
from govern.digests import sha256_bytes
from govern.errors import UsageError
from govern.models import edited_digest, read_delta, read_tensors, write_delta
from govern.policy import LoadedPolicy, load_policy
from govern.progress import Progress, silent
from govern.records import Environment, Plan, Removal, TensorChange
from govern.records.told import ApplyBegan
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.ranks import hand_out
from govern.unlearning.registry import method_named
from govern.unlearning.workers import ALONE, Workers
from govern.workflow.environment import default_device, describe_environment, peak_memory_bytes
from govern.workflow.files import CHECKPOINT, DELTA, PLAN, POLICY, REMOVAL, SWEEP
from govern.workflow.removal.chosen import chosen_by
from govern.workflow.removal.edit import check_edit, make_edit
from govern.workflow.removal.external import planned_edit
from govern.workflow.removal.plan import Planned, make_plan
from govern.workflow.removal.request import refuse_named_subjects, subjects_of
from govern.workflow.runs import check_artefacts, events_of, stored_plan, stored_policy, unfinished_run
from govern.workflow.stage import stage
from govern.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from torch import Tensor

# What decides about the last bits of a sum: fields of the environment, and how an error names them.
_DECIDING = {
    "device": "device",
    "processor": "processor",
    "threads": "number of threads",
    "workers": "number of processes",
    "packages": "set of packages",
}


@dataclass(frozen=True)
class Applied:
    """A finished application."""

    run: RunFolder
    plan: Plan
    removal: Removal


def apply(
    policy: Path | None,
    *,
    workspace: Path,
    resume: bool = False,
    plan: Path | None = None,
    sweep: str | None = None,
    device: str | None = None,
    mirror: Path | None = None,
    workers: Workers = ALONE,
    salt: Path | None = None,
    progress: Progress = silent,
) -> Applied:
    """Apply the policy at `policy` to its model, or with `resume` finish the latest unfinished run (of that policy).

    What the policy leaves to a sweep comes from the sweep of the id `sweep`, or else from its latest finished one.
    This is what rank 0 of `workers` does; the others `follow` it.
    Raises PolicyErrors for an invalid policy, UsageError where `plan` is stale or a sweep has chosen nothing yet,
    SourceError for what is missing, RemovalError where the method gives up.
    """
    loaded = load_policy(policy) if policy else None
    if loaded is None and not resume:
        raise UsageError("there is no policy to apply", hint="Name one: govern apply POLICY")
    promised = read_plan(plan) if plan else None
    environment = describe_environment(device or default_device(), workers=workers.size)
    if loaded and not resume and (subjects := subjects_of(loaded, salt)):
        # Before anything is kept of a policy that names whom it is about.
        refuse_named_subjects(loaded, subjects)
    place = Workspace.open(workspace)
    with Log.open(place.database, trust=place.trust) as log:
        if resume:
            run = unfinished_run(place, log, loaded.sha256 if loaded else None)
            check_artefacts(run, events_of(log, run))
            loaded = stored_policy(run, events_of(log, run))
            begun = stored_plan(run).sweep if has_plan(run) else None
            chosen = chosen_by(place, log, loaded, begun.sweep if begun else sweep)
        else:
            assert loaded is not None  # noqa: S101 - says to the type checker what the guard above has said to the user
            chosen = chosen_by(place, log, loaded, sweep)
            run = place.new_run(loaded.policy.name)
        with run.locked():
            announce(log, run, loaded, environment, resume=resume)
            with stage(
                log,
                "apply",
                run,
                about={"policy_digest": loaded.digest},
                interrupted=f"run {run.id} was interrupted",
                go_on="Continue with: govern apply --resume",
            ) as current:
                planned = make_plan(
                    loaded,
                    device=environment.device,
                    mirror=mirror,
                    stored=run if has_plan(run) else chosen.folder if chosen else None,
                    chosen=chosen,
                    workers=workers.size,
                    salt=salt,
                    progress=progress,
                )
                current.about["model_before"] = planned.plan.model.digest
                refuse_stale(planned.plan, promised, name=str(plan))
                if chosen:
                    chosen.refuse_other_inputs(planned.plan)
                    run.write(SWEEP, chosen.record.canonical())
                planned = keep_inputs(run, planned)
                edited = planned_edit(loaded, planned.plan)
                removal = remove(
                    run, planned, environment.device, edited=edited, log=log, workers=workers, progress=progress
                )
                current.finish(
                    model_after=removal.edited_model_digest,
                    digests={
                        POLICY: loaded.sha256,
                        PLAN: planned.plan.sha256,
                        REMOVAL: removal.sha256,
                        DELTA: removal.delta_sha256,
                        **({SWEEP: chosen.record.sha256} if chosen else {}),
                        **input_digests(planned),
                    },
                    parameters=planned.plan.parameters,
                    seed=planned.plan.seed,
                    environment=planned.plan.environment.to_json(),
                )
            shutil.rmtree(run.path(CHECKPOINT), ignore_errors=True)
    return Applied(run, planned.plan, removal)


def read_plan(path: Path) -> Plan:
    """Read a plan that `govern plan --out` wrote. Raises UsageError."""
    try:
        return Plan.parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"the plan cannot be read: {error.strerror}", where=str(path)) from None
    except ValidationError:
        raise UsageError("this is no plan", where=str(path), hint="Make one: govern plan POLICY --out FILE") from None


def announce(log: Log, run: RunFolder, loaded: LoadedPolicy, environment: Environment, *, resume: bool) -> None:
    """Write the policy's copy and the event that makes this attempt visible for ever."""
    if not resume:
        run.write(POLICY, loaded.source)
    log.append(
        "apply.resumed" if resume else "apply.started",
        run=run.id,
        policy_digest=loaded.digest,
        digests={POLICY: loaded.sha256},
        parameters=ApplyBegan(
            policy_path=str(loaded.path.absolute()), **loaded.policy.removal.model_dump(mode="json")
        ).to_json(),
        seed=loaded.policy.removal.seed,
        environment=environment.to_json(),
    )


def has_plan(run: RunFolder) -> bool:
    """Whether an earlier try of this run came as far as a plan."""
    return run.path(PLAN).is_file()


def refuse_stale(plan: Plan, earlier: Plan | None, *, name: str) -> None:
    """Raise UsageError where an earlier plan names other inputs than those found now."""
    if earlier is None or plan.inputs_digest == earlier.inputs_digest:
        return
    now, then = plan.to_json(), earlier.to_json()
    changed = sorted(key for key in now if key != "environment" and now[key] != then.get(key))
    raise UsageError(
        f"the plan of {name} is stale: {', '.join(changed)} changed since it was made",
        where=f"sha256:{earlier.inputs_digest[:16]}…",
        hint="Look at the new one with: govern plan POLICY. Then apply that.",
    )


def keep_inputs(run: RunFolder, planned: Planned) -> Planned:
    """Store the plan, and the text that only this model on this platform would sample again.

    A resumed run goes on with the plan it began with. Raises UsageError where that one names other inputs, or where it
    was made on another machine, which would end in other bits.
    """
    if has_plan(run):
        earlier = stored_plan(run)
        refuse_stale(planned.plan, earlier, name=f"run {run.id}")
        refuse_other_machine(planned.plan.environment, earlier.environment, run)
        return replace(planned, plan=earlier)
    for name, corpus in planned.corpora.items():
        if corpus.sampled:
            run.write(f"inputs/{name}.safetensors", write_tokens(corpus.tokens))
    run.write(PLAN, planned.plan.canonical())
    return planned


def refuse_other_machine(now: Environment, then: Environment, run: RunFolder) -> None:
    """Raise UsageError where what decides about the last bits of a sum is not what it was."""
    # Of packages, those that were written down then: govern may have begun to write down more of them.
    packages = {name: version for name, version in now.packages.items() if name in then.packages}
    now = now.model_copy(update={"packages": packages})
    changed = [said for name, said in _DECIDING.items() if getattr(now, name) != getattr(then, name)]
    if changed:
        raise UsageError(
            f"{run.id} began with another {' and another '.join(changed)}, so its last bits would differ",
            where=str(run.root),
            hint="Resume it where it began, or begin anew, without --resume.",
        )


def input_digests(planned: Planned) -> dict[str, str]:
    """The SHA-256 of every stored input."""
    return {
        f"inputs/{name}.safetensors": sha256_bytes(write_tokens(corpus.tokens))
        for name, corpus in planned.corpora.items()
        if corpus.sampled
    }


def remove(
    run: RunFolder,
    planned: Planned,
    device: str,
    *,
    edited: Path | None,
    log: Log,
    workers: Workers,
    progress: Progress,
) -> Removal:
    """Run the method and store its delta, bound to the base model."""
    settings = planned.settings
    checkpoint = run.path(CHECKPOINT)
    checkpoint.mkdir(exist_ok=True)
    started = time.monotonic()
    request = RemovalRequest(
        model_path=planned.model.path,
        topics=planned.topics,
        settings=settings,
        device=device,
        trust_remote_code=planned.plan.model.remote_code,
        checkpoint=checkpoint,
        progress=progress,
        workers=workers,
        edited=edited,
    )
    hand_out(request)
    edit = make_edit(method_named(planned.plan.method), request)
    seconds = time.monotonic() - started
    delta_sha256 = write_delta(run.path(DELTA), edit.tensors, base_digest=planned.plan.model.digest)
    # Read back: what is recorded and checked is what lies there.
    tensors = read_delta(run.path(DELTA), sha256=delta_sha256, base_digest=planned.plan.model.digest)
    removal = Removal(
        run=run.id,
        plan_digest=planned.plan.sha256,
        base_model_digest=planned.plan.model.digest,
        edited_model_digest=edited_digest(planned.model.path, tensors),
        method=planned.plan.method,
        solver=planned.plan.parameters.get("solver"),
        delta_sha256=delta_sha256,
        tensors=changes(planned.model.path, tensors),
        curve=edit.curve,
        figures=dict(edit.figures),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory_bytes(),
        resumed=sum(event.type == "apply.resumed" for event in events_of(log, run)),
        check=check_edit(planned.model.path, tensors, trust_remote_code=planned.plan.model.remote_code),
    )
    run.write(REMOVAL, removal.canonical())
    return removal


def changes(model_path: Path, tensors: Mapping[str, Tensor]) -> tuple[TensorChange, ...]:
    """How far each changed tensor moved from the base model's."""
    base = read_tensors(model_path, tensors)
    return tuple(
        TensorChange(
            name=name,
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            relative_change=float(
                (tensor.float() - base[name].float()).norm() / base[name].float().norm().clamp_min(1e-12)
            ),
        )
        for name, tensor in sorted(tensors.items())
    )
