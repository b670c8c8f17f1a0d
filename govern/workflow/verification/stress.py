"""`govern stress`: attacks on a removal, each on the edited model and on the base model as control."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.digests import canonical_digest
from govern.errors import IntegrityError
from govern.evaluation.harness import quiet
from govern.gates.max_recovery import recovery
from govern.models import apply_delta, empty_model, live_tensors, load_model, load_tokenizer, read_delta
from govern.policy import LoadedPolicy
from govern.progress import Progress, labelled, silent
from govern.records import AttackResult, Environment, Origin, Removal, Stress, VerdictValue, worst
from govern.records.told import StressFinished, StressStarted
from govern.sources import cache_folder
from govern.stress.attack import Attack, Attempt, Effort, Target
from govern.stress.exam import Exam
from govern.stress.registry import STANDARD, expand, plugin_of
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import ATTACKING, DELTA
from govern.workflow.removal.plan import Planned, make_plan, question_sets
from govern.workflow.runs import check_artefacts, held_run, refuse_pruned, stored_plan, stored_policy, stored_removal
from govern.workflow.stage import stage
from govern.workflow.verification.measure import AnswerMemory, certifying_questions
from govern.workflow.verification.side_by_side import fits_side_by_side, side_by_side
from govern.workspace import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STRESS = "stress.json"


@dataclass(frozen=True, kw_only=True)
class AttackCost(Effort):
    """What one attack takes on one task's questions, for both models together."""

    name: str
    task: str


@dataclass(frozen=True)
class Stressed:
    """A finished stress test."""

    run: RunFolder
    stress: Stress
    path: Path


def stress(
    run_id: str | None = None,
    *,
    workspace: Path,
    mirror: Path | None = None,
    device: str | None = None,
    announce: Callable[[tuple[AttackCost, ...]], None] | None = None,
    progress: Progress = silent,
) -> Stressed:
    """Attack a run, the latest applied one by default, with what its policy lists, or else with the standard attacks.

    `announce` is told the cost before anything starts. The run's report and verdict stay as they are. Raises
    UsageError where the run's weights were pruned, IntegrityError where an artefact of the run is not what it was.
    """
    environment = describe_environment(device or default_device())
    with held_run(workspace, run_id) as (_, log, run, events):
        refuse_pruned(run, events)
        check_artefacts(run, events)
        loaded, plan, removal = stored_policy(run, events), stored_plan(run), stored_removal(run)
        attacks = expand(loaded.policy.verification.stress) or STANDARD
        planned = make_plan(loaded, device=environment.device, mirror=mirror, stored=run, progress=progress)
        if planned.plan.model.digest != plan.model.digest:
            raise IntegrityError("the base model changed since the removal was planned", where=plan.model.source)
        about: dict[str, Any] = {
            "policy_digest": plan.policy_digest,
            "model_before": removal.base_model_digest,
            "model_after": removal.edited_model_digest,
            "environment": environment.to_json(),
        }
        told = StressStarted(attacks=[each.describe() for each in attacks], tasks=attacked_tasks(loaded)).to_json()
        log.append("stress.started", run=run.id, parameters=told, **about)
        with stage(
            log,
            "stress",
            run,
            about=about,
            interrupted=f"the stress test of run {run.id} was interrupted",
            go_on=f"Start it again with: govern stress {run.id}",
        ) as current:
            started = time.monotonic()
            results = attack_all(
                planned, loaded, removal, run, attacks, mirror, environment, progress, announce=announce
            )
            judged = limited(results)
            found = Stress(
                run=run.id,
                plan_digest=plan.sha256,
                edited_model_digest=removal.edited_model_digest,
                confidence=loaded.policy.verification.confidence,
                verdict=worst(judged) if judged else None,
                results=results,
                seconds=round(time.monotonic() - started, 3),
            )
            name = f"{run.next_numbered('stress')}/{STRESS}"
            run.write(name, found.canonical())
            current.finish(digests={name: found.sha256}, parameters=StressFinished(verdict=found.verdict).to_json())
        shutil.rmtree(run.path(ATTACKING), ignore_errors=True)
    return Stressed(run, found, run.path(name))


def limited(results: Sequence[AttackResult]) -> list[VerdictValue]:
    """The verdicts of the attacks that the policy sets a limit for."""
    return [result.verdict for result in results if result.verdict is not None]


def attacked_tasks(loaded: LoadedPolicy) -> list[str]:
    """The tasks that the policy wants forgotten, each once."""
    return list(dict.fromkeys(gate.task for gate in loaded.policy.verification.forget))


def make_exams(loaded: LoadedPolicy, attacks: Sequence[Attack], mirror: Path | None) -> tuple[Exam, ...]:
    """One exam for each task that the policy wants forgotten, long enough for every attack."""
    limit = max(attack.questions for attack in attacks)
    own = {task.name: task for task in question_sets(loaded) if not isinstance(task, str)}
    exams = []
    for name in attacked_tasks(loaded):
        task = own.get(name, name)
        kind = "letters" if isinstance(task, str) else task.kind
        exams.append(Exam.halve(name, kind, certifying_questions(task, loaded, mirror), limit=limit))
    return tuple(exams)


def costs(exams: Sequence[Exam], attacks: Sequence[Attack], device: str) -> tuple[AttackCost, ...]:
    """What each attack will take at most."""
    found = []
    for exam, attack in product(exams, attacks):
        taken = exam.first(attack.questions)
        one = attack.effort(asked=len(taken.asked), others=len(taken.others), device=device)
        both = {name: 2 * getattr(one, name) for name in ("steps", "questions", "prefixes")}
        found.append(AttackCost(name=attack.describe(), task=exam.task, searched=one.searched, **both))
    return tuple(found)


def attack_all(
    planned: Planned,
    loaded: LoadedPolicy,
    removal: Removal,
    run: RunFolder,
    attacks: Sequence[Attack],
    mirror: Path | None,
    environment: Environment,
    progress: Progress,
    *,
    announce: Callable[[tuple[AttackCost, ...]], None] | None = None,
) -> tuple[AttackResult, ...]:
    """Ask both models, attack both, ask again, and say what came back. `announce` is told the cost first.

    What a model said under an attack is kept as soon as it is there, so that a killed stress test goes on where it was.
    """
    import torch

    if not attacks:
        return ()
    exams = make_exams(loaded, attacks, mirror)
    if announce:
        announce(costs(exams, attacks, environment.device))
    device = environment.device
    trust = planned.plan.model.remote_code
    delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=planned.plan.model.digest)

    by_module = live_tensors(empty_model(planned.model.path, trust_remote_code=trust), delta)

    def base() -> PreTrainedModel:
        return load_model(planned.model.path, dtype=torch.float32, device=device, trust_remote_code=trust)

    def edited() -> PreTrainedModel:
        model = base()
        apply_delta(model, delta)
        return model

    unrelated, related = planned.text("retain"), planned.text("forget")
    # A base model's answers outlive the run, so only code that can be named may have given them.
    lasting = environment.dirty is False or environment.commit is None
    kept = cache_folder() / "attacks" if lasting else run.path(ATTACKING)

    def side(load: Callable[[], PreTrainedModel], folder: Path, model_digest: str) -> tuple[Target, AnswerMemory]:
        # A tokenizer each: truncation and padding are its state.
        tokenizer = load_tokenizer(planned.model.path, trust_remote_code=trust)
        return Target(load, tokenizer, unrelated, related, base, by_module), AnswerMemory(
            folder, model_digest, environment
        )

    sides = {
        "base": side(base, kept, removal.base_model_digest),
        "edited": side(edited, run.path(ATTACKING), removal.edited_model_digest),
    }
    at_once = fits_side_by_side(planned.plan.model.parameters, device)
    results = []
    with quiet(offline=True):  # around both threads: what each silences is the process's, and the last one restores
        for exam, (number, attack) in product(exams, enumerate(attacks, start=1)):
            asked = exam.first(attack.questions)
            told = labelled(progress, f"attack {number} of {len(attacks)}")
            origin = origin_of(attack)
            needs = [asked.digest, unrelated.digest, related.digest, attack.model_dump(mode="json")]
            needs += [origin.to_json()] if origin else []
            digest = canonical_digest([*needs, removal.delta_sha256 if attack.knows_the_removal else None])
            plain = partial(_answer, "plain", asked.digest, partial(_ask, asked))
            tried = partial(_answer, attack.attack, digest, partial(_attempt, attack, asked))
            before, after = side_by_side(plain, sides, told, at_once=at_once)
            started = time.monotonic()
            control, attacked = side_by_side(tried, sides, told, at_once=at_once)
            results.append(
                recovery(
                    before.answers,
                    after.answers,
                    control.answers,
                    attacked.answers,
                    attack=attack.attack,
                    name=attack.describe(),
                    parameters=attack.model_dump(mode="json", exclude={"attack", "max_recovery"}),
                    max_recovery=attack.max_recovery,
                    confidence=loaded.policy.verification.confidence,
                    seconds=time.monotonic() - started,
                    found={"base": control.found, "edited": attacked.found} if attacked.found else {},
                    origin=origin,
                    doubt=control.doubt,
                )
            )
    return tuple(results)


def origin_of(attack: Attack) -> Origin | None:
    """The other distribution that an attack comes from, None for ours."""
    plugin = plugin_of(attack.attack)
    if plugin is None:
        return None
    return Origin(distribution=plugin.distribution, version=plugin.version, digest=plugin.digest)


def _ask(exam: Exam, target: Target, progress: Progress) -> Attempt:
    return Attempt(answers=exam.ask(target.load(), target.tokenizer, progress=progress))


def _attempt(attack: Attack, exam: Exam, target: Target, progress: Progress) -> Attempt:
    return attack.attempt(target, exam, progress)


def _answer(
    name: str,
    digest: str,
    ask: Callable[[Target, Progress], Attempt],
    side: tuple[Target, AnswerMemory],
    progress: Progress,
) -> Attempt:
    """What one model says, as it is kept or by asking it."""
    target, memory = side
    return memory.answers(name, digest, Attempt, lambda: (ask(target, progress),))[0]
