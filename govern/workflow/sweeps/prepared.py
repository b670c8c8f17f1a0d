"""What a sweep rests on before its first point: the plan, the questions and texts that choose, what the base says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from govern.audit import Log
from govern.corpora import TokenCorpus, write_tokens
from govern.digests import sha256_bytes
from govern.errors import PolicyError, UsageError
from govern.evaluation.questions import OwnTask, questions_of
from govern.models import load_tokenizer
from govern.policy import ForgetGate, LoadedPolicy, PerplexityGate, TaskGate
from govern.progress import Progress
from govern.records import Environment, Plan
from govern.stress.exam import FEWEST_FACTS, Exam
from govern.unlearning.external import ExternalSettings
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.settings import MethodSettings
from govern.unlearning.sweeping import grid_of
from govern.workflow.files import BEFORE, PLAN, POLICY, TRIALS
from govern.workflow.removal.apply import refuse_other_machine
from govern.workflow.removal.plan import Planned, check_removal, make_plan, question_sets, resolve_corpus
from govern.workflow.runs import bound_digests, events_of
from govern.workflow.sweeps.points import Attacker, Bench, SelectionAnswers, score_base
from govern.workspace import RunFolder


@dataclass(frozen=True)
class Sets:
    """Which selection questions stand for which gated task, and which held-back text for which perplexity gate."""

    tasks: Mapping[str, OwnTask | str]
    texts: Mapping[int, str]

    def name(self, task: str) -> str:
        """The name under which a gated task's selection questions are asked."""
        found = self.tasks[task]
        return found if isinstance(found, str) else found.name


def steering(loaded: LoadedPolicy) -> MethodSettings:
    """What is swept. Raises PolicyError where the removal was made elsewhere, which `refuse_unswept` says better."""
    if isinstance(loaded.policy.removal, ExternalSettings):
        raise PolicyError("a model that was edited elsewhere has no settings to try", where=loaded.where("removal"))
    return loaded.policy.removal


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
    request: RemovalRequest[Any] = RemovalRequest(
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


def ask_before(folder: RunFolder, bench: Bench, progress: Progress) -> SelectionAnswers:
    """What the base model says, kept so that a resumed sweep compares with the same."""
    if folder.path(BEFORE).is_file():
        return SelectionAnswers.parse(folder.read(BEFORE))
    said = score_base(bench, progress=progress)
    folder.write(BEFORE, said.canonical())
    return said
