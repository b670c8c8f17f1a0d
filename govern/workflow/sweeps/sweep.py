"""`govern sweep`: try a policy's settings on the questions that choose, keep every try, and choose by a stated rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from govern.audit import Log
from govern.corpora import TokenCorpus, write_tokens
from govern.digests import sha256_bytes
from govern.errors import GovernError, Interrupted, PolicyError, UsageError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.questions import OwnTask, questions_of
from govern.gates.choice import choose, score, standing
from govern.gates.registry import Threshold, hold
from govern.models import load_tokenizer
from govern.policy import ForgetGate, LoadedPolicy, PerplexityGate, TaskGate, load_policy, parse_policy
from govern.progress import Progress, silent
from govern.records import Environment, Event, GateResult, Plan, Score, Sweep, SweepPoint
from govern.records.told import SweepBegan, SweepFailed, SweepFinished, told
from govern.signing import SigningKey
from govern.stress.exam import FEWEST_FACTS, Exam
from govern.unlearning.external import ExternalSettings
from govern.unlearning.protocol import Request
from govern.unlearning.settings import MethodSettings
from govern.unlearning.sweeping import grid_of
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import BEFORE, PLAN, POLICY, REPORT, SWEEP, TRIALS
from govern.workflow.publication.comparison import issue_comparison
from govern.workflow.removal.apply import refuse_other_machine
from govern.workflow.removal.plan import Planned, check_removal, make_plan, question_sets, resolve_corpus
from govern.workflow.removal.request import refuse_named_subjects, subjects_of
from govern.workflow.runs import bound_digests, check_artefacts, events_of
from govern.workflow.sweeps.ablation import Trial, ablation_trials, at_equal_length
from govern.workflow.sweeps.methods import Comparison, Unmade, base_settings, method_trials
from govern.workflow.sweeps.points import Attacker, Bench, Outcome, Said, leave, score_base, score_point
from govern.workspace import RunFolder, Workspace

Kind = Literal["grid", "ablation", "methods"]

# How points are scored: yields the number of a setting and its outcome, in any order.
Runner = Callable[[Bench, Sequence[MethodSettings]], Iterator[tuple[int, Outcome]]]


def serial(bench: Bench, settings: Sequence[MethodSettings]) -> Iterator[tuple[int, Outcome]]:
    """One point after another, in this process."""
    for number, each in enumerate(settings):
        yield number, score_point(bench, each)


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


@dataclass(frozen=True)
class Sets:
    """Which selection questions stand for which gated task, and which held-back text for which perplexity gate."""

    tasks: Mapping[str, OwnTask | str]
    texts: Mapping[int, str]

    def name(self, task: str) -> str:
        """The name under which a gated task's selection questions are asked."""
        found = self.tasks[task]
        return found if isinstance(found, str) else found.name


def sweep(
    policy: Path | None,
    *,
    workspace: Path,
    ablation: bool = False,
    compared: Comparison | None = None,
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
            began = time.monotonic()
            try:
                planned, sets, held_back = prepare(loaded, folder, environment, mirror, salt, progress)
                bench = bench_of(loaded, planned, sets, held_back, environment.device, mirror, apart=kind == "methods")
                before = ask_before(folder, bench, progress)
                trials = method_trials(folder, loaded, bench.request, compared, progress) if kind == "methods" else []
                bind_prepared(log, folder, loaded)
                tried = Trials(log, folder, loaded, planned, bench, sets, before, runner, progress)
                if kind == "grid":
                    swept, settings = grid_of(steering(loaded), loaded.policy.axes)
                    points = tried.run([Trial("grid", "", each) for each in settings])
                elif kind == "methods":
                    swept, points = {}, tried.run(trials)
                else:
                    swept, rows = {}, ablation_trials(steering(loaded), chosen_coefficient(log, loaded))
                    points = tried.run(rows)
                    points = tried.run([*rows, *at_equal_length(rows, points)])
                record, undecided = conclude(folder, kind, loaded, planned, swept, sets, before, points, began)
            except Exception as error:
                # The message of an unforeseen error may quote text, so the log gets its kind alone.
                reason = error.message if isinstance(error, GovernError) else type(error).__name__
                log.append(
                    "sweep.failed",
                    run=folder.id,
                    policy_digest=loaded.digest,
                    parameters=SweepFailed(kind=kind, error=reason).to_json(),
                )
                raise
            except KeyboardInterrupt:
                raise Interrupted(
                    f"sweep {folder.id} was interrupted",
                    where=str(folder.root),
                    hint="Continue with: govern sweep --resume",
                ) from None
            finally:
                leave()
            folder.write(SWEEP, record.canonical())
            digests = {**prepared_digests(folder), SWEEP: record.sha256}
            signer, report = None, None
            if kind == "methods":
                log.verify()
                signer, issued = issue_comparison(
                    log,
                    folder,
                    planned.plan,
                    record,
                    compared.budget if compared else None,
                    compared.points if compared else None,
                    digests,
                    key,
                )
                digests, report = {**digests, **issued}, folder.path(REPORT)
            log.append(
                "sweep.finished",
                actor=signer,
                run=folder.id,
                policy_digest=loaded.digest,
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


def steering(loaded: LoadedPolicy) -> MethodSettings:
    """What is swept. Raises PolicyError where the removal was made elsewhere, which `refuse_unswept` says better."""
    if isinstance(loaded.policy.removal, ExternalSettings):
        raise PolicyError("a model that was edited elsewhere has no settings to try", where=loaded.where("removal"))
    return loaded.policy.removal


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


def comparison_of(started: Event) -> Comparison | None:
    """What a sweep was begun to compare; None where it is none, or was begun before that was kept."""
    kept = told(started, SweepBegan).compared
    return Comparison(**{**kept, "methods": tuple(kept["methods"])}) if kept else None


def swept_policy(folder: RunFolder, started: Event) -> LoadedPolicy:
    """The sweep's own copy of its policy; relative paths in it still start at the folder of the original."""
    return parse_policy(folder.read(POLICY), path=Path(told(started, SweepBegan).policy_path))


def announce(
    log: Log,
    folder: RunFolder,
    loaded: LoadedPolicy,
    kind: Kind,
    environment: Environment,
    compared: Comparison | None,
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


def prepare(
    loaded: LoadedPolicy,
    folder: RunFolder,
    environment: Environment,
    mirror: Path | None,
    salt: Path | None,
    progress: Progress,
) -> tuple[Planned, Sets, dict[str, TokenCorpus]]:
    """Resolve the policy, and for each gate the questions or the text that stand for it while settings are chosen.

    Raises UsageError where a resumed sweep would go on with other inputs or on another machine.
    """
    stored = folder if folder.path(PLAN).is_file() else None
    planned = make_plan(loaded, device=environment.device, mirror=mirror, stored=stored, salt=salt, progress=progress)
    if stored:
        earlier = Plan.parse(folder.read(PLAN))
        if planned.plan.inputs_digest != earlier.inputs_digest:
            raise UsageError(
                f"the inputs of sweep {folder.id} changed since it began", where=str(folder.root), hint="Sweep anew."
            )
        refuse_other_machine(planned.plan.environment, earlier.environment, folder)
        planned = replace(planned, plan=earlier)
    points = grid_of(steering(loaded), loaded.policy.axes)[1]
    for each in {type(point): point for point in points}.values():
        check_removal(loaded, each, planned.model, planned.plan.model)
    tasks = selection_sets(loaded, planned.plan)
    held_back = selection_texts(loaded, planned, stored, environment.device, progress)
    if not stored:
        for name, corpus in planned.corpora.items():
            if corpus.sampled:
                folder.write(f"inputs/{name}.safetensors", write_tokens(corpus.tokens))
        for index, text in held_back.items():
            folder.write(f"inputs/{_text_name(index)}.safetensors", write_tokens(text))
        folder.write(PLAN, planned.plan.canonical())
    texts = {index: f"held-back text for gate {index + 1}" for index in held_back}
    return planned, Sets(tasks, texts), {texts[index]: corpus for index, corpus in held_back.items()}


def stored_inputs(folder: RunFolder) -> list[str]:
    """The names of the stored inputs."""
    inputs = folder.path("inputs")
    return [f"inputs/{path.name}" for path in inputs.iterdir()] if inputs.is_dir() else []


def prepared_digests(folder: RunFolder) -> dict[str, str]:
    """The SHA-256 of everything that a sweep rests on before its first point."""
    names = (POLICY, PLAN, BEFORE, *sorted(stored_inputs(folder)), *trials_of(folder))
    return {name: sha256_bytes(folder.read(name)) for name in names}


def bind_prepared(log: Log, folder: RunFolder, loaded: LoadedPolicy) -> None:
    """Let the log know them, once, so that a sweep that is resumed goes on with the same."""
    digests = prepared_digests(folder)
    if not digests.keys() <= bound_digests(events_of(log, folder)).keys():
        log.append("sweep.prepared", run=folder.id, policy_digest=loaded.digest, digests=digests)


def trials_of(folder: RunFolder) -> list[str]:
    """The name of the trials, where the sweep compares methods."""
    return [TRIALS] if folder.path(TRIALS).is_file() else []


def selection_sets(loaded: LoadedPolicy, plan: Plan) -> dict[str, OwnTask | str]:
    """The questions that choose, by the gated task that they stand for. Raises PolicyError where a gate has none."""
    verification = loaded.policy.verification
    sets = {task if isinstance(task, str) else task.name: task for task in question_sets(loaded)}
    sizes = {task.name: task.selection for task in plan.tasks}
    selecting = {task.selects: sets[task.name] for task in loaded.policy.tasks if task.selects}
    found: dict[str, OwnTask | str] = {}
    gates: list[tuple[str, int, ForgetGate | TaskGate]] = [
        ("forget", index, gate) for index, gate in enumerate(verification.forget)
    ]
    gates += [("utility", i, gate) for i, gate in enumerate(verification.utility) if isinstance(gate, TaskGate)]
    for group, index, gate in gates:
        chosen = selecting.get(gate.task, sets[gate.task])
        name = chosen if isinstance(chosen, str) else chosen.name
        letters = isinstance(chosen, OwnTask) and chosen.kind == "letters"
        if not sizes[name] or (letters and gate.metric == "acc_norm"):
            raise PolicyError(
                f"no questions choose settings for {gate.task}",
                where=loaded.where("verification", group, index, "task"),
                hint="Give it a task of use: selection with `selects`, or let its own task be of use: split.",
            )
        found[gate.task] = chosen
    if not any(isinstance(gate, TaskGate) for gate in verification.utility):
        raise PolicyError(
            "a sweep weighs forgetting against utility, and no utility gate asks questions",
            where=loaded.where("verification"),
            hint="Add a utility gate on a task, such as {task: mmlu, max_drop: 0.02}.",
        )
    return found


def selection_texts(
    loaded: LoadedPolicy, planned: Planned, stored: RunFolder | None, device: str, progress: Progress
) -> dict[int, TokenCorpus]:
    """For each perplexity gate, text of the same kind that the gate itself does not read, by the gate's index.

    `self:` text is sampled with a seed that the policy uses nowhere; other text is what follows the gate's documents.
    A gate whose text ends there is not looked at.
    """
    policy = loaded.policy
    seeds = [text.seed for text in policy.retain]
    seeds += [gate.seed for gate in policy.verification.utility if isinstance(gate, PerplexityGate)]
    tokenizer = load_tokenizer(planned.model.path, trust_remote_code=planned.plan.model.remote_code)
    found: dict[int, TokenCorpus] = {}
    for index, gate in enumerate(policy.verification.utility):
        if not isinstance(gate, PerplexityGate):
            continue
        sampled = gate.perplexity == "self:"
        more = {"seed": max(seeds) + 1 + index} if sampled else {"documents": 2 * gate.documents}
        corpus = resolve_corpus(
            _text_name(index),
            gate.model_copy(update=more),
            "perplexity",
            loaded=loaded,
            model=planned.model,
            tokenizer=tokenizer,
            device=device,
            stored=stored if sampled else None,
            progress=progress,
        )
        documents = corpus.tokens.documents[0 if sampled else gate.documents :]
        if len(documents) > 1:
            found[index] = TokenCorpus(documents)
    return found


def _text_name(index: int) -> str:
    return f"selection-{index}"


def bench_of(
    loaded: LoadedPolicy,
    planned: Planned,
    sets: Sets,
    held_back: Mapping[str, TokenCorpus],
    device: str,
    mirror: Path | None,
    *,
    apart: bool,
) -> Bench:
    """What all points share."""
    request: Request[Any] = Request(
        model_path=planned.model.path,
        topics=planned.topics,
        settings=loaded.policy.removal,
        device=device,
        trust_remote_code=planned.plan.model.remote_code,
    )
    return Bench(
        request=request,
        base_digest=planned.plan.model.digest,
        tasks=tuple(dict.fromkeys(sets.tasks.values())),
        share=loaded.policy.verification.selection.share,
        mirror=mirror,
        held_back=tuple(held_back.items()),
        attacker=attacker_of(loaded, planned, sets),
        dtype=loaded.policy.verification.dtype,
        apart=apart,
    )


def attacker_of(loaded: LoadedPolicy, planned: Planned, sets: Sets) -> Attacker | None:
    """Who every point is put to: an attacker who relearns, examined on the questions that choose.

    Raises PolicyError where a forget gate's are an official set's, or about too few facts to attack one half of them.
    """
    verification = loaded.policy.verification
    if (attack := verification.selection.attack) is None:
        return None
    exams: dict[str, Exam] = {}  # two gates on one task have one
    for index, gate in enumerate(verification.forget):
        task, where = sets.tasks[gate.task], loaded.where("verification", "forget", index, "task")
        if isinstance(task, str):
            raise PolicyError(
                "a sweep attacks only on questions of the policy's own",
                where=where,
                hint="Leave out `selection.attack`, or add a task of use: selection that `selects` this one.",
            )
        questions = questions_of(task, "selection", share=verification.selection.share)
        try:
            exams[task.name] = Exam.halve(task.name, task.kind, questions, limit=attack.questions)
        except UsageError as error:
            raise PolicyError(
                error.message,
                where=where,
                hint=f"Leave out `selection.attack`, or let questions about at least {FEWEST_FACTS} facts choose.",
            ) from None
    return Attacker(attack, tuple(exams.values()), unrelated=planned.text("retain"), related=planned.text("forget"))


def ask_before(folder: RunFolder, bench: Bench, progress: Progress) -> Said:
    """What the unedited model says, kept so that a resumed sweep compares with the same."""
    if folder.path(BEFORE).is_file():
        return Said.parse(folder.read(BEFORE))
    said = score_base(bench, progress=progress)
    folder.write(BEFORE, said.canonical())
    return said


@dataclass(frozen=True)
class Trials:
    """Runs trials that the log does not hold yet, and writes each into it as soon as it is there."""

    log: Log
    folder: RunFolder
    loaded: LoadedPolicy
    planned: Planned
    bench: Bench
    sets: Sets
    before: Said
    runner: Runner
    progress: Progress

    def run(self, trials: Sequence[Trial | Unmade]) -> tuple[SweepPoint, ...]:
        """The points of these trials, in their order."""
        points = {
            point.number: point
            for point in (
                told(stored.event, SweepPoint) for stored in self.log.events(run=self.folder.id, type="sweep.point")
            )
            if point.number < len(trials)
        }
        left: list[tuple[int, Trial]] = []
        for number, trial in enumerate(trials):
            if number in points:
                continue
            if isinstance(trial, Unmade):
                points[number] = self._kept(_unmade(number, trial), self.loaded.policy.removal.seed)
            else:
                left.append((number, trial))
        for place, outcome in self.runner(self.bench, [trial.settings for _, trial in left]):
            number, trial = left[place]
            point = points[number] = self._kept(self._point(number, trial, outcome), trial.settings.seed)
            figures = (
                {"forget": point.forget.value, "utility": point.utility.value} if point.forget and point.utility else {}
            )
            self.progress("points", len(points), len(trials), **figures)
        return tuple(points[number] for number in range(len(trials)))

    def _kept(self, point: SweepPoint, seed: int) -> SweepPoint:
        self.log.append(
            "sweep.point",
            run=self.folder.id,
            policy_digest=self.loaded.digest,
            model_before=self.planned.plan.model.digest,
            parameters=point.to_json(),
            seed=seed,
        )
        return point

    def _point(self, number: int, trial: Trial, outcome: Outcome) -> SweepPoint:
        gates: tuple[GateResult, ...] = ()
        forget: Score | None = None
        utility: Score | None = None
        attacked: Score | None = None
        if outcome.said:
            gates = judge(self.loaded, self.sets, self.before, outcome.said)
            forget, utility = scores(self.loaded, self.sets, outcome.said)
            attacked = under_attack(self.loaded, outcome.said)
        return SweepPoint(
            number=number,
            group=trial.group,
            label=trial.label,
            settings=trial.settings.model_dump(mode="json"),
            error=outcome.error,
            gates=gates,
            forget=forget,
            utility=utility,
            standing=standing(gates) if gates else "none",
            change_norm=outcome.change_norm,
            target_norm=outcome.target_norm,
            delta_sha256=outcome.delta_sha256,
            attacked=attacked,
            edit_seconds=round(outcome.edit_seconds, 3),
            edit_peak_bytes=outcome.edit_peak_bytes,
            score_seconds=round(outcome.score_seconds, 3),
        )


def _unmade(number: int, trial: Unmade) -> SweepPoint:
    return SweepPoint(
        number=number,
        group=trial.group,
        label="",
        settings={"method": trial.group},
        error=trial.error,
        gates=(),
        forget=None,
        utility=None,
        standing="none",
        change_norm=None,
        target_norm=None,
        delta_sha256=None,
        edit_seconds=0.0,
        score_seconds=0.0,
    )


def judge(loaded: LoadedPolicy, sets: Sets, before: Said, after: Said) -> tuple[GateResult, ...]:
    """Hold every gate of the policy against the selection questions and texts that stand for it."""

    def measured(asked: Threshold) -> tuple[Answers, Answers] | tuple[Perplexity, Perplexity] | None:
        if asked.metric != "perplexity":
            task = sets.name(asked.task)
            return before.answered(task, asked.metric), after.answered(task, asked.metric)
        if not asked.held_back or asked.place[1] not in sets.texts:
            return None  # an official text chooses nothing
        text = sets.texts[asked.place[1]]
        return _perplexity(before, text), _perplexity(after, text)

    verification = loaded.policy.verification
    return hold(verification.thresholds(), measured, confidence=verification.confidence)


def scores(loaded: LoadedPolicy, sets: Sets, said: Said) -> tuple[Score, Score]:
    """How much of what has to go is left, and how much of what must stay: accuracies over selection questions."""
    confidence = loaded.policy.verification.confidence
    forget, utility = gated_answers(loaded, sets, said)
    return score(forget, confidence=confidence), score(utility, confidence=confidence)


def under_attack(loaded: LoadedPolicy, said: Said) -> Score | None:
    """How much of what has to go is right after the attack, of the half of the facts that it was not made with."""
    if not said.attacked:
        return None
    return score(said.attacked, confidence=loaded.policy.verification.confidence)


def gated_answers(loaded: LoadedPolicy, sets: Sets, said: Said) -> tuple[list[Answers], list[Answers]]:
    """The answers that stand for the forget gates and for the utility gates, each set once."""
    verification = loaded.policy.verification
    tasks = [gate for gate in verification.utility if isinstance(gate, TaskGate)]
    pairs = [
        list(dict.fromkeys((sets.name(gate.task), gate.metric) for gate in gates))
        for gates in (verification.forget, tasks)
    ]
    forget, utility = ([said.answered(*pair) for pair in each] for each in pairs)
    return forget, utility


def _perplexity(said: Said, name: str) -> Perplexity:
    return next(found for found in said.perplexities if found.task == name)


def conclude(
    folder: RunFolder,
    kind: Kind,
    loaded: LoadedPolicy,
    planned: Planned,
    swept: Mapping[str, Sequence[Any]],
    sets: Sets,
    before: Said,
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
