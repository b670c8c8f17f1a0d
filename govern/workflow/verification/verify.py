"""`govern verify`: questions before and after, gates judged, a signed report."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.corpora import write_tokens
from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.evaluation.endpoint import Endpoint
from govern.models import SPREAD
from govern.progress import Progress, silent
from govern.records import CorpusIdentity, Environment, ModelIdentity, Plan, Removal, TaskIdentity, Verdict
from govern.records.told import Failed, VerifyFinished, VerifyStarted, told
from govern.signing import SigningKey
from govern.stress.registry import expand
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import ATTACKING, MEASURING
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
from govern.workflow.stage import stage
from govern.workflow.verification.outcome import measure_both
from govern.workflow.verification.stress import attack_all
from govern.workflow.verification.verdict import answers_json, reach_verdict
from govern.workspace import RunFolder

Identity = ModelIdentity | CorpusIdentity | TaskIdentity


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
        announce(log, run, plan, removal, attempt, asking)
        with stage(
            log,
            "verify",
            run,
            about={"policy_digest": plan.policy_digest, "model_before": removal.base_model_digest},
            interrupted=f"the verification of run {run.id} was interrupted",
            go_on=f"Start it again with: govern verify {run.id}",
        ) as current:
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
            attacks = () if found.stopped else expand(loaded.policy.verification.stress)
            attacked = attack_all(planned, loaded, removal, run, attacks, mirror, environment, progress)
            answers = answers_json(found.before, found.after)
            verdict = reach_verdict(
                loaded,
                plan,
                removal,
                found,
                attacked,
                attempt=attempt,
                held_back_seed=seed,
                answers_sha256=sha256_bytes(answers),
                seconds=time.monotonic() - started,
            )
            folder = run.next_numbered("verifications")
            artefacts = {
                f"{folder}/answers.json": answers,
                f"{folder}/verdict.json": verdict.canonical(),
                **(sampled_anew(planned, folder) if seed is not None else {}),
            }
            for name, content in artefacts.items():
                run.write(name, content)
            finished = current.finish(
                model_after=removal.edited_model_digest,
                digests={name: sha256_bytes(content) for name, content in artefacts.items()},
                parameters=VerifyFinished(
                    attempt=attempt,
                    verdict=verdict.verdict,
                    remembered={"before": list(found.before.remembered), "after": list(found.after.remembered)},
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


def announce(log: Log, run: RunFolder, plan: Plan, removal: Removal, attempt: int, environment: Environment) -> None:
    """Write the event that makes this attempt visible for ever."""
    log.append(
        "verify.started",
        run=run.id,
        policy_digest=plan.policy_digest,
        model_before=removal.base_model_digest,
        model_after=removal.edited_model_digest,
        parameters=VerifyStarted(attempt=attempt, tasks={task.name: task.digest for task in plan.tasks}).to_json(),
        environment=environment.to_json(),
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
