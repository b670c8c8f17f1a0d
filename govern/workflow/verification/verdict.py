"""The verdict on what was measured, and the answers that it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from govern.digests import canonical_json
from govern.evaluation import subjects
from govern.evaluation.answers import Answers, Part, Perplexity
from govern.evaluation.official import neighbours_of
from govern.evaluation.results import result
from govern.policy import LoadedPolicy
from govern.records import AttackResult, NeighbourResult, Plan, Removal, SubjectResult, TaskResult, Verdict, worst
from govern.workflow.verification.measure import Measurement
from govern.workflow.verification.outcome import BeforeAndAfter
from govern.workflow.verification.stress import limited

PARTS: tuple[Part, ...] = ("certification", "selection")
MeasuredT = TypeVar("MeasuredT", Answers, Perplexity)


def reach_verdict(
    loaded: LoadedPolicy,
    plan: Plan,
    removal: Removal,
    found: BeforeAndAfter,
    attacked: tuple[AttackResult, ...],
    *,
    attempt: int,
    held_back_seed: int | None,
    answers_sha256: str,
    seconds: float,
) -> Verdict:
    """The verdict on what both models said and what the attacks brought back."""
    verification = loaded.policy.verification
    gates = found.gates(loaded)
    official = certified(found.before, found.after)
    return Verdict(
        run=removal.run,
        plan_digest=plan.sha256,
        delta_sha256=removal.delta_sha256,
        edited_model_digest=removal.edited_model_digest,
        verdict=worst([gate.verdict for gate in gates] + limited(attacked)),
        confidence=verification.confidence,
        attempt=attempt,
        gates=gates,
        results=results(loaded, found.before, found.after),
        stress=attacked,
        held_back_seed=held_back_seed,
        dtype=verification.dtype,
        subjects=by_subjects(loaded, official),
        neighbours=next_to_hazards(loaded, official),
        sequential=found.sequential,
        scorer=found.scorer,
        endpoint=tuple(check.record for check in found.endpoint),
        answers_sha256=answers_sha256,
        seconds=round(seconds, 3),
    )


def results(loaded: LoadedPolicy, before: Measurement, after: Measurement) -> tuple[TaskResult, ...]:
    """Everything that was measured, gated or not."""
    confidence = loaded.policy.verification.confidence
    found: list[TaskResult] = []
    for old, new in zip(before.answers, after.answers, strict=True):
        found.extend(
            result(old.part(part), new.part(part), confidence=confidence, part=part)
            for part in PARTS
            if part in old.parts
        )
    for base, edited in zip(before.perplexities, after.perplexities, strict=True):
        found.append(result(base, edited, confidence=confidence, part="all"))
    return tuple(found)


def certified(before: Measurement, after: Measurement) -> list[tuple[Answers, Answers]]:
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


def answers_json(before: Measurement, after: Measurement) -> bytes:
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
