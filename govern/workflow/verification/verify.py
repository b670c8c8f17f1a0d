"""`govern verify`: questions before and after, gates judged, a signed report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from govern.audit import Log
from govern.corpora import write_tokens
from govern.digests import canonical_json, sha256_bytes
from govern.errors import GovernError, IntegrityError, Interrupted
from govern.evaluation import decisions, subjects
from govern.evaluation.answers import Answers, Part, Perplexity
from govern.evaluation.official import neighbours_of
from govern.models import SPREAD, apply_delta, load_model, load_tokenizer, read_delta
from govern.policy import LoadedPolicy, TaskGate, WikitextGate
from govern.progress import Progress, labelled, silent
from govern.records import (
    ENDPOINT,
    AttackResult,
    CorpusIdentity,
    Environment,
    GateResult,
    ModelIdentity,
    NeighbourResult,
    Plan,
    Removal,
    SequentialTest,
    SubjectResult,
    TaskIdentity,
    TaskResult,
    Verdict,
    worst,
)
from govern.records.told import Failed, VerifyFinished, VerifyStarted, told
from govern.signing import SigningKey
from govern.sources import cache_folder
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import ATTACKING, DELTA, MEASURING
from govern.workflow.publication.report import Issued, issue_report, refuse_missing_templates
from govern.workflow.removal.plan import Planned, make_plan
from govern.workflow.runs import (
    check_artefacts,
    finish_issue,
    held_run,
    refuse_pruned,
    refuse_revoked,
    stored_plan,
    stored_policy,
    stored_removal,
)
from govern.workflow.verification.endpoint import Checked, Endpoint, endpoint_exams
from govern.workflow.verification.looks import measure_in_looks, undecided
from govern.workflow.verification.measure import Measured, Memory, Subject
from govern.workflow.verification.stress import attack_removal, limited
from govern.workspace import RunFolder

PARTS: tuple[Part, ...] = ("certification", "selection")
Identity = ModelIdentity | CorpusIdentity | TaskIdentity
MeasuredT = TypeVar("MeasuredT", Answers, Perplexity)


@dataclass(frozen=True)
class Verified:
    """A finished verification and the report that it issued."""

    run: RunFolder
    verdict: Verdict
    issued: Issued


def verify(
    run_id: str | None = None,
    *,
    workspace: Path,
    key: SigningKey | None = None,
    mirror: Path | None = None,
    device: str | None = None,
    templates: Path | None = None,
    seed: int | None = None,
    fail_fast: bool = False,
    endpoint: Endpoint | None = None,
    progress: Progress = silent,
) -> Verified:
    """Verify a run, the latest applied one by default, and issue its report.

    With a `seed`, held-back text is sampled from the model anew, so that a later verification does not rest on what an
    earlier one read. With `fail_fast`, asking stops as soon as a gate has failed. An `endpoint` is put to the test as
    well. The device `auto` spreads the model that is asked over all GPUs. Without a `key` the report is signed by a
    throw-away one and says so. Raises IntegrityError where an artefact of the run, its model, its questions or the log
    is not what it was when the removal was made, SourceError where the endpoint does not answer.
    """
    refuse_missing_templates(templates)
    spread = device == SPREAD
    environment = describe_environment(default_device() if device is None or spread else device)
    # The questions go to a model on all devices, all else to one on the first.
    asking = environment.model_copy(update={"device": SPREAD}) if spread else environment
    with held_run(workspace, run_id) as (_, log, run, events):
        refuse_revoked(run, events)
        refuse_pruned(run, events)
        finish_issue(run, events)
        try:
            check_artefacts(run, events)
        except IntegrityError as error:
            log.append("verify.failed", run=run.id, parameters=Failed(error=error.message).to_json())
            raise
        loaded, plan, removal = stored_policy(run, events), stored_plan(run), stored_removal(run)
        attempt = certification_attempts(log, plan) + 1
        log.append(
            "verify.started",
            run=run.id,
            policy_digest=plan.policy_digest,
            model_before=removal.base_model_digest,
            model_after=removal.edited_model_digest,
            parameters=VerifyStarted(attempt=attempt, tasks={task.name: task.digest for task in plan.tasks}).to_json(),
            environment=asking.to_json(),
        )
        try:
            started = time.monotonic()
            planned = make_plan(
                loaded,
                device=environment.device,
                mirror=mirror,
                stored=run,
                held_back_seed=seed,
                progress=progress,
            )
            refuse_changed_inputs(planned.plan, plan, anew=seed is not None)
            found = measure_both(
                planned,
                loaded,
                removal,
                run,
                mirror,
                asking,
                progress,
                fail_fast=fail_fast,
                endpoint=endpoint,
            )
            before, after = found.before, found.after
            gates = found.gates(loaded)
            brought_back: tuple[AttackResult, ...] = ()
            if not found.stopped:
                brought_back = attack_removal(planned, loaded, removal, run, mirror, environment, progress)
            official = certified(before, after)
            answers = store_answers(before, after)
            verdict = Verdict(
                run=run.id,
                plan_digest=plan.sha256,
                delta_sha256=removal.delta_sha256,
                edited_model_digest=removal.edited_model_digest,
                verdict=worst([gate.verdict for gate in gates] + limited(brought_back)),
                confidence=loaded.policy.verification.confidence,
                attempt=attempt,
                gates=gates,
                results=results(loaded, before, after),
                stress=brought_back,
                held_back_seed=seed,
                dtype=loaded.policy.verification.dtype,
                subjects=by_subjects(loaded, official),
                neighbours=next_to_hazards(loaded, official),
                sequential=found.sequential,
                endpoint=tuple(check.record for check in found.endpoint),
                answers_sha256=sha256_bytes(answers),
                seconds=round(time.monotonic() - started, 3),
            )
        except Exception as error:
            # The message of an unforeseen error may quote a question, so the log gets its kind alone.
            reason = error.message if isinstance(error, GovernError) else type(error).__name__
            log.append(
                "verify.failed",
                run=run.id,
                policy_digest=plan.policy_digest,
                model_before=removal.base_model_digest,
                parameters=Failed(error=reason).to_json(),
            )
            raise
        except KeyboardInterrupt:
            raise Interrupted(
                f"the verification of run {run.id} was interrupted",
                where=str(run.root),
                hint=f"Start it again with: govern verify {run.id}",
            ) from None
        folder = run.next_numbered("verifications")
        run.write(f"{folder}/answers.json", answers)
        run.write(f"{folder}/verdict.json", verdict.canonical())
        read_anew = sampled_anew(planned, folder) if seed is not None else {}
        for name, tokens in read_anew.items():
            run.write(name, tokens)
        finished = log.append(
            "verify.finished",
            run=run.id,
            policy_digest=plan.policy_digest,
            model_before=removal.base_model_digest,
            model_after=removal.edited_model_digest,
            digests={
                f"{folder}/answers.json": verdict.answers_sha256,
                f"{folder}/verdict.json": verdict.sha256,
                **{name: sha256_bytes(tokens) for name, tokens in read_anew.items()},
            },
            parameters=VerifyFinished(
                attempt=attempt,
                verdict=verdict.verdict,
                remembered={"before": list(before.remembered), "after": list(after.remembered)},
                questions={task.name: [task.source, task.digest] for task in planned.plan.tasks},
            ).to_json(),
            environment=asking.to_json(),
        )
        for kept in (MEASURING, ATTACKING):
            shutil.rmtree(run.path(kept), ignore_errors=True)
        issued = issue_report(log, run, loaded, plan, removal, verdict, finished, key=key, templates=templates)
    return Verified(run, verdict, issued)


def certification_attempts(log: Log, plan: Plan) -> int:
    """How many verifications have already looked at any of the plan's question sets, whatever their run."""
    digests = {task.digest for task in plan.tasks}
    return sum(
        not digests.isdisjoint(told(stored.event, VerifyStarted).tasks.values())
        for stored in log.events(type="verify.started")
    )


def sampled_anew(planned: Planned, folder: str) -> dict[str, bytes]:
    """The held-back text that this verification sampled for itself, by the name of its file."""
    return {
        f"{folder}/{name}.safetensors": write_tokens(corpus.tokens)
        for name, corpus in planned.corpora.items()
        if corpus.sampled and corpus.identity.role == "perplexity"
    }


def refuse_changed_inputs(now: Plan, then: Plan, *, anew: bool) -> None:
    """Raise IntegrityError where the model, a text or a question set is not the one that was planned with.

    Held-back text that was sampled `anew` is another one by intention.
    """
    pairs: list[tuple[str, Identity, Identity]] = [("the base model", now.model, then.model)]
    pairs += [
        (f"corpus {old.role} {old.source}", new, old)
        for new, old in zip(now.corpora, then.corpora, strict=True)
        if not (anew and old.role == "perplexity" and old.source == "self:")
    ]
    # The same official questions may come from the hub one day and from a mirror the next.
    pairs += [
        (f"question set {old.name}", new, old)
        for new, old in zip(now.tasks, then.tasks, strict=True)
        if new.source == old.source
    ]
    for name, new, old in pairs:
        if new.digest != old.digest:
            raise IntegrityError(
                f"{name} changed since the removal was planned: it was sha256:{old.digest}, it is sha256:{new.digest}",
                where=name,
                hint="Restore it, or apply the policy again to what it is now.",
            )


@dataclass(frozen=True)
class Outcome:
    """What both models said, of all questions or of those that were asked, and what an endpoint said."""

    before: Measured
    after: Measured
    sequential: SequentialTest | None
    endpoint: tuple[Checked, ...]

    @property
    def stopped(self) -> bool:
        """Whether asking stopped before all questions were asked."""
        return self.sequential is not None and self.sequential.stopped

    def gates(self, loaded: LoadedPolicy) -> tuple[GateResult, ...]:
        """The policy's gates, then those on the endpoint."""
        held = judge(loaded, self.before, self.after, self.sequential.failing if self.sequential else None)
        if self.stopped:
            held = tuple(map(undecided, held))
        return held + tuple(check.gate for check in self.endpoint)


def measure_both(
    planned: Planned,
    loaded: LoadedPolicy,
    removal: Removal,
    run: RunFolder,
    mirror: Path | None,
    environment: Environment,
    progress: Progress,
    *,
    fail_fast: bool = False,
    endpoint: Endpoint | None = None,
) -> Outcome:
    """Ask the base model, edit it in place with the delta read back from disk, and ask it again."""
    import torch

    trust = planned.plan.model.remote_code
    tokenizer = load_tokenizer(planned.model.path, trust_remote_code=trust)
    dtype = loaded.policy.verification.dtype
    model = load_model(
        planned.model.path, dtype=getattr(torch, dtype), device=environment.device, trust_remote_code=trust
    )
    # A base model's answers outlive the run, so only code that can be named may have given them.
    kept = cache_folder() / "answers" if environment.dirty is False or environment.commit is None else None
    base = Subject(
        model, tokenizer, planned, loaded, mirror, Memory(kept, removal.base_model_digest, environment, dtype),
        labelled(progress, "before"),
    )  # fmt: skip
    before = base.measure()
    exams = () if endpoint is None else endpoint_exams(base, endpoint)
    # Before the edited model is asked, so that an endpoint which is down is known early; in looks it may not be needed.
    deployed = () if fail_fast else tuple(exam.ask(base.progress) for exam in exams)
    delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=planned.plan.model.digest)
    apply_delta(model, delta)
    edited = replace(
        base,
        memory=Memory(run.path(MEASURING), removal.edited_model_digest, environment, dtype),
        progress=labelled(progress, "after"),
    )
    if fail_fast:
        hold = partial(judge, loaded)
        before, after, sequential = measure_in_looks(edited, before, hold, seed=removal.delta_sha256)
        if sequential.stopped:
            unasked = tuple(f"{exam.gate.task}{ENDPOINT}" for exam in exams)
            left = sequential.model_copy(update={"unjudged": (*sequential.unjudged, *unasked)})
            return Outcome(before, after, left, ())
        deployed = tuple(exam.ask(base.progress) for exam in exams)
    else:
        sequential, after = None, edited.measure()
    checked = tuple(exam.check(said, edited) for exam, said in zip(exams, deployed, strict=True))
    return Outcome(before, after, sequential, checked)


def judge(
    loaded: LoadedPolicy, before: Measured, after: Measured, failing: float | None = None
) -> tuple[GateResult, ...]:
    """Hold every gate of the policy against what was measured, on certification questions alone.

    `failing` is the confidence of the bounds that fail a gate, by default the policy's. Gates on texts that were not
    read are left out.
    """
    verification = loaded.policy.verification
    confidence = verification.confidence
    gates: list[GateResult] = []

    def add(decide: Callable[..., GateResult], task: str, metric: str, threshold: float) -> None:
        pair = before.answered(task, metric), after.answered(task, metric)
        gates.append(decide(*pair, metric=metric, threshold=threshold, confidence=confidence, failing=failing))

    def rise(name: str, threshold: float) -> None:
        pair = before.perplexity(name), after.perplexity(name)
        gates.append(decisions.max_increase(*pair, threshold=threshold, confidence=confidence, failing=failing))

    for forget in verification.forget:
        add(decisions.ceiling, forget.task, forget.metric, forget.ceiling)
    held_back = iter([found.task for found in after.perplexities])
    for gate in verification.utility:
        if not isinstance(gate, TaskGate):
            if after.perplexities:
                rise(gate.task if isinstance(gate, WikitextGate) else next(held_back), gate.max_increase)
            continue
        if gate.floor is not None:
            add(decisions.floor, gate.task, gate.metric, gate.floor)
        if gate.max_drop is not None:
            add(decisions.max_drop, gate.task, gate.metric, gate.max_drop)
    return tuple(gates)


def results(loaded: LoadedPolicy, before: Measured, after: Measured) -> tuple[TaskResult, ...]:
    """Everything that was measured, gated or not."""
    confidence = loaded.policy.verification.confidence
    found: list[TaskResult] = []
    for old, new in zip(before.answers, after.answers, strict=True):
        found.extend(
            decisions.result(old.part(part), new.part(part), confidence=confidence, part=part)
            for part in PARTS
            if part in old.parts
        )
    for base, edited in zip(before.perplexities, after.perplexities, strict=True):
        found.append(decisions.result(base, edited, confidence=confidence, part="all"))
    return tuple(found)


def certified(before: Measured, after: Measured) -> list[tuple[Answers, Answers]]:
    """Both models' answers to the certifying questions of every official set that has subjects."""
    pairs = zip(before.answers, after.answers, strict=True)
    return [(old.part("certification"), new.part("certification")) for old, new in pairs if new.subjects]


def by_subjects(loaded: LoadedPolicy, pairs: Sequence[tuple[Answers, Answers]]) -> tuple[SubjectResult, ...]:
    """MMLU's subjects one by one, corrected for their number."""
    confidence = loaded.policy.verification.confidence
    return tuple(found for pair in pairs for found in subjects.by_subject(*pair, confidence=confidence))


def next_to_hazards(loaded: LoadedPolicy, pairs: Sequence[tuple[Answers, Answers]]) -> tuple[NeighbourResult, ...]:
    """The subjects next to what the policy removes, pooled, in each form that they were asked in."""
    policy = loaded.policy
    hazards = neighbours_of(policy.hazard.domain, {gate.task for gate in policy.verification.forget})
    confidence = policy.verification.confidence
    forms = [[pair for pair in pairs if (pair[1].kind == "cloze") == cloze] for cloze in (False, True)]
    return tuple(found for form in forms for found in subjects.pooled(form, hazards, confidence=confidence))


def store_answers(before: Measured, after: Measured) -> bytes:
    """Every answer, by question id, without the questions."""

    def listed(found: Sequence[MeasuredT]) -> list[object]:
        return [entry.to_json() for entry in found]

    return canonical_json(
        {
            "format_version": 1,
            "before": {"answers": listed(before.answers), "perplexities": listed(before.perplexities)},
            "after": {"answers": listed(after.answers), "perplexities": listed(after.perplexities)},
        }
    )
