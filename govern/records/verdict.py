"""What verification found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, JsonValue

from govern.records.base import Record
from govern.records.origin import Origin

VerdictValue = Literal["pass", "fail", "inconclusive"]

GateKind = Literal["ceiling", "floor", "max_drop", "max_increase"]
"""The kinds of gate; each is a module of `govern.gates`."""

LimitKind = Literal[GateKind, "max_recovery"]
"""The kinds of gate, and the limit on what an attack brings back."""

ENDPOINT = " (endpoint)"
"""What the name of a question set ends with where an endpoint was asked it."""


class Interval(Record):
    """A two-sided confidence interval at the verdict's confidence."""

    low: float
    high: float


class GateResult(Record):
    """One gate. `bound` is the one-sided confidence bound that was held against `threshold`.

    `before` and `after` are accuracies, or perplexities for `perplexity`. `clusters` is None where questions are
    independent. `method` names the bound.
    """

    task: str
    metric: Literal["acc", "acc_norm", "perplexity"]
    kind: GateKind
    n: int
    clusters: int | None
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    bound: float
    threshold: float
    method: str
    verdict: VerdictValue
    reason: str


class TaskResult(Record):
    """One question set before and after, gated or not.

    `cut` counts questions that lost their beginning because they are longer than the model's context, `merged` those
    whose choices lm-eval's convention scores without a token over the seam; both are left out of the JSON where zero.
    """

    task: str
    metric: Literal["acc", "acc_norm", "perplexity"]
    part: Literal["selection", "certification", "all"]
    n: int
    clusters: int | None
    chance: float | None
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    cut: int = Field(default=0, exclude_if=lambda cut: not cut)
    merged: int = Field(default=0, exclude_if=lambda merged: not merged)


class AttackResult(Record):
    """One attack on one task's questions.

    Accuracies over the same `n` questions: `base` and `edited` before the attack, `control` and `attacked` after it.
    `recovered` is (attacked − edited) / (base − edited), None where the removal took nothing that could come back; its
    interval is None where the data bound it on no side. `verdict` is None where the policy sets no `max_recovery`.
    `found` is what else the attack measured, under `base` and `edited`: numbers and digests, never a text. `origin` is
    None for govern's own attacks.
    """

    attack: str
    name: str
    parameters: dict[str, JsonValue]
    task: str
    n: int
    clusters: int | None
    chance: float
    base: float
    edited: float
    control: float
    attacked: float
    recovered: float | None
    recovered_interval: Interval | None
    max_recovery: float | None
    bound: float | None
    method: str
    verdict: VerdictValue | None
    reason: str
    seconds: float
    found: dict[str, dict[str, JsonValue]] = Field(default={}, exclude_if=lambda found: not found)
    origin: Origin | None = Field(default=None, exclude_if=lambda origin: origin is None)


class SubjectResult(Record):
    """One subject of an official task, on its certifying questions.

    `p` is Holm's adjusted p-value of the exact paired test that nothing was lost, over all subjects of the task; `lost`
    says whether it is at most 1 − confidence. `bound` is the lower bound on the drop, before − after, at the
    confidence that Holm's procedure gave this subject.
    """

    task: str
    subject: str
    n: int
    before: float
    after: float
    drop: float
    bound: float
    p: float
    lost: bool


class NeighbourResult(Record):
    """The subjects next to a hazard, pooled question by question: what a removal damages first. It decides nothing."""

    hazard: str
    task: str
    subjects: tuple[str, ...]
    n: int
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    drop: float
    drop_interval: Interval
    method: str


class SequentialTest(Record):
    """A verification that looks several times, in order to stop early.

    `asked` of `questions` certifying questions were asked, `look` of `looks`; `failing` is the confidence of the bounds
    that could fail a gate at that look. `unjudged` names the gates that were not looked at because it `stopped`,
    attacks with a limit and an endpoint's among them.
    """

    look: int
    looks: int
    asked: int
    questions: int
    failing: float
    stopped: bool
    unjudged: tuple[str, ...]


class EndpointCheck(Record):
    """One task's certifying questions, put to a deployed model as text to go on with; its gate stands with the others.

    `url` has no credentials. Of `n` answers, `unanswered` name no letter and `as_edited` are the verified model's.
    Base and edited model answer the `telling` questions differently; `as_base` of those the endpoint answered as the
    base model does.
    """

    task: str
    url: str
    model: str
    form: Literal["chat", "completion"]
    n: int
    unanswered: int
    as_edited: int
    telling: int
    as_base: int


class ScorerCheck(Record):
    """Likelihoods that the scorer gave, recomputed one by one by a plain forward: `n` of each model.

    `base` and `edited` are the largest differences and `allowed` is what another order of adding up may come to, in
    nats a token.
    """

    n: int
    base: float
    edited: float
    allowed: float


class Verdict(Record):
    """The outcome of one verification. `attempt` counts certifications on these question sets in this workspace.

    `stress`, what the policy's attacks brought back, is left out of the JSON where it lists none; `held_back_seed`,
    with which this verification sampled its held-back text anew, where it read the run's; `dtype`, what the models
    computed in while they answered, where that is float32; `subjects`, `neighbours`,
    `sequential`, `endpoint` and `scorer` where there was nothing of the kind.
    """

    format_version: Literal[1] = 1
    run: str
    plan_digest: str
    delta_sha256: str
    edited_model_digest: str
    verdict: VerdictValue
    confidence: float
    attempt: int
    gates: tuple[GateResult, ...]
    results: tuple[TaskResult, ...]
    stress: tuple[AttackResult, ...] = Field(default=(), exclude_if=lambda stress: not stress)
    held_back_seed: int | None = Field(default=None, exclude_if=lambda seed: seed is None)
    dtype: Literal["bfloat16", "float32"] = Field(default="float32", exclude_if=lambda dtype: dtype == "float32")
    subjects: tuple[SubjectResult, ...] = Field(default=(), exclude_if=lambda subjects: not subjects)
    neighbours: tuple[NeighbourResult, ...] = Field(default=(), exclude_if=lambda neighbours: not neighbours)
    sequential: SequentialTest | None = Field(default=None, exclude_if=lambda sequential: sequential is None)
    endpoint: tuple[EndpointCheck, ...] = Field(default=(), exclude_if=lambda endpoint: not endpoint)
    scorer: ScorerCheck | None = Field(default=None, exclude_if=lambda scorer: scorer is None)
    answers_sha256: str
    seconds: float


class Verification(Record):
    """One verification of a run as the log tells it. `harness` is the version of lm-eval."""

    time: str
    verdict: VerdictValue
    attempt: int
    harness: str
    govern: str


def worst(verdicts: Iterable[VerdictValue]) -> VerdictValue:
    """The verdict of a whole run: fail outranks inconclusive outranks pass. No verdicts at all is inconclusive."""
    found = set(verdicts)
    if "fail" in found:
        return "fail"
    return "pass" if found == {"pass"} else "inconclusive"
