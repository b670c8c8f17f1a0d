"""`govern sweep`: try a policy's settings on the questions that choose, keep every try, and choose by a stated rule."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from govern.audit import Log
from govern.errors import PolicyError, UsageError
from govern.gates.choice import choose
from govern.policy import LoadedPolicy, load_policy, parse_policy
from govern.progress import Progress, silent
from govern.records import Environment, Event, Plan, Sweep, SweepPoint
from govern.records.told import SweepBegan, SweepFinished, told
from govern.signing import SigningKey
from govern.unlearning.sweeping import grid_of
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import POLICY, REPORT, SWEEP
from govern.workflow.publication.comparison import issue_comparison
from govern.workflow.removal.plan import Planned
from govern.workflow.removal.request import refuse_named_subjects, subjects_of
from govern.workflow.runs import check_artefacts, events_of
from govern.workflow.stage import stage
from govern.workflow.sweeps.ablation import Trial, ablation_trials, at_equal_length
from govern.workflow.sweeps.methods import MethodsCompared, base_settings, method_trials
from govern.workflow.sweeps.points import SelectionAnswers, leave
from govern.workflow.sweeps.prepared import (
    Sets,
    ask_before,
    bench_of,
    bind_prepared,
    prepare,
    prepared_digests,
    steering,
)
from govern.workflow.sweeps.trials import Runner, Trials, gated_answers, scores, serial, under_attack
from govern.workspace import RunFolder, Workspace

Kind = Literal["grid", "ablation", "methods"]


@dataclass(frozen=True)
class Swept:
    """A finished sweep. `undecided`: nothing was chosen, and more questions could still show that a point qualifies.

    `report` is the signed report that a comparison of methods has.
    """

    folder: RunFolder
    plan: Plan
    record: Sweep
    undecided: bool
    report: Path | None = None


def sweep(
    policy: Path | None,
    *,
    workspace: Path,
    ablation: bool = False,
    compared: MethodsCompared | None = None,
    resume: bool = False,
    device: str | None = None,
    mirror: Path | None = None,
    salt: Path | None = None,
    key: SigningKey | None = None,
    runner: Runner = serial,
    progress: Progress = silent,
) -> Swept:
    """Score every point of a policy's sweep, of the paper's ablation, or of `compared` methods; `resume` finishes the
    latest one. A comparison has a report, signed by `key`, or by a throw-away one.

    Only selection questions are asked. Raises PolicyErrors for an invalid policy, PolicyError where a gate has no
    questions that choose, SourceError for what is missing.
    """
    loaded = load_policy(policy) if policy else None
    if loaded is None and not resume:
        raise UsageError("there is no policy to sweep", hint="Name one: govern sweep POLICY")
    if resume and (ablation or compared):
        raise UsageError("what is resumed stays what it was begun as", where="--resume", hint="Leave the other out.")
    environment = describe_environment(device or default_device())
    place = Workspace.open(workspace)
    with Log.open(place.database, trust=place.trust) as log:
        kind: Kind = "methods" if compared else "ablation" if ablation else "grid"
        if resume:
            folder, started = unfinished_sweep(place, log, loaded.sha256 if loaded else None)
            check_artefacts(folder, events_of(log, folder))
            loaded, kind = swept_policy(folder, started), told(started, SweepBegan).kind
            compared = comparison_of(started)
        else:
            assert loaded is not None  # noqa: S101 - says to the type checker what the guard above has said to the user
            refuse_unswept(loaded, kind)
            if subjects := subjects_of(loaded, salt):
                refuse_named_subjects(loaded, subjects)
            for method in () if compared is None or compared.every else compared.methods:
                base_settings(loaded, method)  # refused before anything is begun
            folder = place.new_sweep(loaded.policy.name)
        with folder.locked():
            announce(log, folder, loaded, kind, environment, compared, resume=resume)
            with stage(
                log,
                "sweep",
                folder,
                about={"policy_digest": loaded.digest, "parameters": {"kind": kind}},
                interrupted=f"sweep {folder.id} was interrupted",
                go_on="Continue with: govern sweep --resume",
            ) as current:
                began = time.monotonic()
                try:
                    planned, sets, held_back = prepare(loaded, folder, environment, mirror, salt, progress)
                    apart = kind == "methods"
                    bench = bench_of(loaded, planned, sets, held_back, environment.device, mirror, apart=apart)
                    before = ask_before(folder, bench, progress)
                    tried = Trials(log, folder, loaded, planned, bench, sets, before, runner, progress)
                    swept, points = try_points(tried, kind, compared)
                finally:
                    leave()
                record, undecided = conclude(folder, kind, loaded, planned, swept, sets, before, points, began)
                folder.write(SWEEP, record.canonical())
                digests = {**prepared_digests(folder), SWEEP: record.sha256}
                signer, report = None, None
                if kind == "methods":
                    log.verify()
                    budget, tuned = (compared.budget, compared.points) if compared else (None, None)
                    signer, issued = issue_comparison(log, folder, planned.plan, record, budget, tuned, digests, key)
                    digests, report = {**digests, **issued}, folder.path(REPORT)
                current.finish(
                    actor=signer,
                    model_before=planned.plan.model.digest,
                    digests=digests,
                    parameters=SweepFinished(
                        kind=kind,
                        points=len(record.points),
                        chosen=record.chosen,
                        nearest=record.nearest,
                        settings=None if record.chosen is None else record.points[record.chosen].settings,
                        rule=record.rule,
                        reason=record.reason,
                        throwaway_key=key is None if report else None,
                    ).to_json(),
                    seed=planned.plan.seed,
                    environment=environment.to_json(),
                )
    return Swept(folder, planned.plan, record, undecided, report)


def try_points(
    tried: Trials, kind: Kind, compared: MethodsCompared | None
) -> tuple[Mapping[str, Sequence[Any]], tuple[SweepPoint, ...]]:
    """What is swept, by field, and every point that the sweep is of. What they rest on is bound before the first."""
    log, folder, loaded = tried.log, tried.folder, tried.loaded
    trials = method_trials(folder, loaded, tried.bench.request, compared, tried.progress) if kind == "methods" else []
    bind_prepared(log, folder, loaded)
    if kind == "methods":
        return {}, tried.run(trials)
    if kind == "grid":
        swept, settings = grid_of(steering(loaded), loaded.policy.axes)
        return swept, tried.run([Trial("grid", "", each) for each in settings])
    rows = ablation_trials(steering(loaded), chosen_coefficient(log, loaded))
    return {}, tried.run([*rows, *at_equal_length(rows, tried.run(rows))])


def refuse_unswept(loaded: LoadedPolicy, kind: Kind) -> None:
    """Raise PolicyError where there is nothing to try, or the ablation is of another method."""
    if kind == "grid" and not loaded.policy.sweeps:
        raise PolicyError(
            "the policy leaves nothing to a sweep",
            where=loaded.where("removal"),
            hint="Give it a grid, such as coefficient: {sweep: {relative: [4, 8, 16]}}, or a section `sweep`.",
        )
    if kind == "ablation" and loaded.policy.removal.method != "srmu":
        raise PolicyError(
            f"the ablation takes SRMU apart, and this removal is by {loaded.policy.removal.method}",
            where=loaded.where("removal", "method"),
            hint="Name a policy whose method is srmu.",
        )


def unfinished_sweep(place: Workspace, log: Log, policy_sha256: str | None) -> tuple[RunFolder, Event]:
    """The latest sweep that was started and never finished, of one policy where it is given, and its first event."""
    finished = {stored.event.run for stored in log.events(type="sweep.finished")}
    started = [
        stored.event
        for stored in log.events(type="sweep.started")
        if stored.event.run not in finished and policy_sha256 in (None, stored.event.digests[POLICY])
    ]
    if not started or started[-1].run is None:
        raise UsageError(
            "there is no unfinished sweep to resume", where=str(place.root), hint="Start one: govern sweep POLICY"
        )
    return place.sweep(started[-1].run), started[-1]


def resumes_comparison(policy: Path | None, *, workspace: Path) -> bool:
    """Whether the sweep that would be resumed compares methods, and so ends with something to sign."""
    place = Workspace.open(workspace)
    with Log.open(place.database, trust=place.trust) as log:
        _, started = unfinished_sweep(place, log, load_policy(policy).sha256 if policy else None)
    return told(started, SweepBegan).kind == "methods"


def comparison_of(started: Event) -> MethodsCompared | None:
    """What a sweep was begun to compare; None where it is none, or was begun before that was kept."""
    kept = told(started, SweepBegan).compared
    return MethodsCompared(**{**kept, "methods": tuple(kept["methods"])}) if kept else None


def swept_policy(folder: RunFolder, started: Event) -> LoadedPolicy:
    """The sweep's own copy of its policy; relative paths in it still start at the folder of the original."""
    return parse_policy(folder.read(POLICY), path=Path(told(started, SweepBegan).policy_path))


def announce(
    log: Log,
    folder: RunFolder,
    loaded: LoadedPolicy,
    kind: Kind,
    environment: Environment,
    compared: MethodsCompared | None,
    *,
    resume: bool,
) -> None:
    """Write the policy's copy and the event that makes this sweep visible for ever."""
    if not resume:
        folder.write(POLICY, loaded.source)
    log.append(
        "sweep.resumed" if resume else "sweep.started",
        run=folder.id,
        policy_digest=loaded.digest,
        digests={POLICY: loaded.sha256},
        parameters=SweepBegan(
            policy_path=str(loaded.path.absolute()),
            kind=kind,
            removal=loaded.policy.removal.model_dump(mode="json"),
            axes=loaded.policy.axes,
            compared=asdict(compared) if compared else None,
        ).to_json(),
        seed=loaded.policy.removal.seed,
        environment=environment.to_json(),
    )


def conclude(
    folder: RunFolder,
    kind: Kind,
    loaded: LoadedPolicy,
    planned: Planned,
    swept: Mapping[str, Sequence[Any]],
    sets: Sets,
    before: SelectionAnswers,
    points: Sequence[SweepPoint],
    began: float,
) -> tuple[Sweep, bool]:
    """The sweep's record, and whether more questions could still show that a point qualifies."""
    choice = choose(points)
    forget_before, utility_before = scores(loaded, sets, before)
    forget, _ = gated_answers(loaded, sets, before)
    grid = kind == "grid"
    attack = loaded.policy.verification.selection.attack
    record = Sweep(
        sweep=folder.id,
        kind=kind,
        policy_digest=loaded.digest,
        plan_digest=planned.plan.sha256,
        model_digest=planned.plan.model.digest,
        confidence=loaded.policy.verification.confidence,
        swept={name: tuple(map(_json, values)) for name, values in swept.items()},
        forget_before=forget_before,
        utility_before=utility_before,
        attack=None if attack is None else attack.model_dump(mode="json"),
        attacked_before=under_attack(loaded, before),
        chance=sum(answers.chance * len(answers.ids) for answers in forget) / forget_before.n,
        points=tuple(points),
        front=choice.front,
        chosen=choice.chosen if grid else None,
        nearest=choice.nearest if grid else None,
        rule=choice.rule if grid else _COMPARES[kind],
        reason=choice.reason if grid else "",
        seconds=round(time.monotonic() - began, 3),
    )
    return record, choice.undecided and grid


_COMPARES = {
    "ablation": "An ablation compares settings and chooses none.",
    "methods": "A comparison tunes each method on its own points and chooses none of the methods.",
}


def _json(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def chosen_coefficient(log: Log, loaded: LoadedPolicy) -> Any:
    """The coefficient at which a policy is taken apart: its own, or what its latest finished sweep chose.

    None where there is neither.
    """
    for stored in reversed(list(log.events(type="sweep.finished"))):
        settings = told(stored.event, SweepFinished).settings
        if stored.event.policy_digest == loaded.digest and settings:
            return settings["coefficient"]
    return None
