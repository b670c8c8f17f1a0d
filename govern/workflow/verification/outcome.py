"""Ask the base model, edit it, ask it again, and hold the gates against both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.endpoint import Endpoint
from govern.evaluation.recount import Recounted, ScoredTexts
from govern.gates.registry import Threshold, hold
from govern.models import apply_delta, load_model, load_tokenizer, read_delta
from govern.policy import LoadedPolicy
from govern.progress import Progress, labelled
from govern.records import ENDPOINT, Environment, GateResult, Removal, ScorerCheck, SequentialTest
from govern.sources import cache_folder
from govern.workflow.files import DELTA, MEASURING
from govern.workflow.removal.plan import Planned
from govern.workflow.verification.endpoint import EndpointFinding, endpoint_exams
from govern.workflow.verification.measure import AnswerMemory, Measurement, ModelUnderTest
from govern.workflow.verification.sequential import measure_in_sequence, undecided
from govern.workspace import RunFolder


@dataclass(frozen=True)
class BeforeAndAfter:
    """What both models said, of all questions or of those that were asked, and what an endpoint said."""

    before: Measurement
    after: Measurement
    sequential: SequentialTest | None
    scorer: ScorerCheck
    endpoint: tuple[EndpointFinding, ...]

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
) -> BeforeAndAfter:
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
    base = ModelUnderTest(
        model, tokenizer, planned, loaded, mirror, AnswerMemory(kept, removal.base_model_digest, environment, dtype),
        labelled(progress, "before"),
    )  # fmt: skip
    before = base.measure()
    first = base.recount(before)
    exams = () if endpoint is None else endpoint_exams(base, endpoint)
    # Before the edited model is asked, so that an endpoint which is down is known early. A sequential test may not
    # come to it.
    deployed = () if fail_fast else tuple(exam.ask(base.progress) for exam in exams)
    delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=planned.plan.model.digest)
    apply_delta(model, delta)
    edited = replace(
        base,
        memory=AnswerMemory(run.path(MEASURING), removal.edited_model_digest, environment, dtype),
        progress=labelled(progress, "after"),
        kept=ScoredTexts(),
    )
    if fail_fast:
        before, after, sequential = measure_in_sequence(
            edited, before, partial(judge, loaded), seed=removal.delta_sha256
        )
        check = scorer_check(first, edited.recount(after))
        if sequential.stopped:
            unasked = tuple(f"{exam.gate.task}{ENDPOINT}" for exam in exams)
            left = sequential.model_copy(update={"unjudged": (*sequential.unjudged, *unasked)})
            return BeforeAndAfter(before, after, left, check, ())
        deployed = tuple(exam.ask(base.progress) for exam in exams)
    else:
        sequential, after = None, edited.measure()
        check = scorer_check(first, edited.recount(after))
    checked = tuple(exam.check(said, edited) for exam, said in zip(exams, deployed, strict=True))
    return BeforeAndAfter(before, after, sequential, check, checked)


def scorer_check(base: Recounted, edited: Recounted) -> ScorerCheck:
    """What recomputing likelihoods of both models came to."""
    return ScorerCheck(n=base.n, base=base.largest, edited=edited.largest, allowed=edited.allowed)


def judge(
    loaded: LoadedPolicy, before: Measurement, after: Measurement, failing: float | None = None
) -> tuple[GateResult, ...]:
    """Hold every gate of the policy against what was measured, on certification questions alone.

    `failing` is the confidence of the bounds that fail a gate, by default the policy's. Gates on texts that were not
    read are left out.
    """
    held_back = (found.task for found in after.perplexities)

    def measured(asked: Threshold) -> tuple[Answers, Answers] | tuple[Perplexity, Perplexity] | None:
        if asked.metric != "perplexity":
            return before.answered(asked.task, asked.metric), after.answered(asked.task, asked.metric)
        if not after.perplexities:
            return None
        name = next(held_back) if asked.held_back else asked.task
        return before.perplexity(name), after.perplexity(name)

    verification = loaded.policy.verification
    return hold(verification.thresholds(), measured, confidence=verification.confidence, failing=failing)
