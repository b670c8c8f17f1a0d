"""`govern verify --fail-fast`, a sequential test: look several times, and stop at the first look that fails a gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from govern.evaluation.answers import Answers
from govern.evaluation.questions import OwnTask
from govern.evaluation.sequential import LOOKS, asked_at, failing, joined
from govern.policy import LoadedPolicy, PerplexityGate, TaskGate
from govern.records import GateName, GateResult, SequentialTest
from govern.stress.registry import expand
from govern.workflow.verification.measure import Measurement, ModelUnderTest, certifying_sets, set_name

Judge = Callable[[Measurement, Measurement, float], tuple[GateResult, ...]]

_UNFINISHED = "Asking stopped early because another gate failed, so this one was not decided"


@dataclass(frozen=True)
class _Set:
    """A question set: what the base model said to it in each form, which ids each look asks, what was said so far."""

    task: OwnTask | str
    base: tuple[Answers, ...]
    looks: tuple[frozenset[str], ...]
    said: list[tuple[frozenset[str], tuple[Answers, ...]]] = field(default_factory=list)

    def answers(self) -> tuple[tuple[Answers, Answers], ...]:
        """Both models' answers to what was asked so far, in each form."""
        looks = [ids for ids, _ in self.said]
        return tuple(
            (like.only(frozenset().union(*looks)), joined(like, [answers[form] for _, answers in self.said], looks))
            for form, like in enumerate(self.base)
        )


def measure_in_sequence(
    edited: ModelUnderTest, base: Measurement, judge: Judge, *, seed: str
) -> tuple[Measurement, Measurement, SequentialTest]:
    """What base and edited model said to the questions that were asked, and how far that went.

    `base` is everything that the base model said. `judge` holds the gates against (before, after), with bounds of a
    confidence that fail. The order of the questions follows from `seed`. Texts are read at the last look alone.
    """
    loaded = edited.loaded
    sets = [_set(task, base, seed) for task in certifying_sets(loaded)]
    for look in range(1, LOOKS + 1):
        for each in sets:
            if ids := each.looks[look - 1]:
                each.said.append((ids, edited.ask(each.task, ids)))
        pairs = [pair for each in sets for pair in each.answers()]
        last = look == LOOKS
        before = Measurement(tuple(old for old, _ in pairs), base.perplexities if last else (), base.remembered)
        read = edited.read() if last else ()
        after = Measurement(tuple(new for _, new in pairs), read, tuple(edited.memory.remembered))
        sure = failing(look, confidence=loaded.policy.verification.confidence)
        if last or any(gate.verdict == "fail" for gate in judge(before, after, sure)):
            break
    test = SequentialTest(
        look=look,
        looks=LOOKS,
        asked=sum(len(each.answers()[0][1].part("certification").ids) for each in sets),
        questions=sum(len(each.base[0].part("certification").ids) for each in sets),
        failing=sure,
        stopped=not last,
        unjudged=() if last else (*_text_gates(loaded), *_attack_gates(loaded)),
    )
    return before, after, test


def undecided(gate: GateResult) -> GateResult:
    """A gate as it stands when asking stopped early: what has not failed is not decided."""
    if gate.verdict == "fail":
        return gate
    return gate.model_copy(update={"verdict": "inconclusive", "reason": f"{_UNFINISHED}. So far: {gate.reason}"})


def _set(task: OwnTask | str, base: Measurement, seed: str) -> _Set:
    name = set_name(task)
    said = tuple(answers for answers in base.answers if answers.task in (name, f"{name} (cloze)"))
    return _Set(task, said, asked_at(said[0], seed=seed))


def _text_gates(loaded: LoadedPolicy) -> tuple[str, ...]:
    """The gates on texts, which are read when all questions are asked."""
    gates = [gate for gate in loaded.policy.verification.utility if not isinstance(gate, TaskGate)]
    return tuple(gate.perplexity if isinstance(gate, PerplexityGate) else gate.task for gate in gates)


def _attack_gates(loaded: LoadedPolicy) -> tuple[str, ...]:
    """The attacks with a limit, which are made when all questions are asked, as a waiver would name them."""
    verification = loaded.policy.verification
    return tuple(
        str(GateName(task=task, metric="recovery", kind="max_recovery", attack=attack.describe()))
        for task in dict.fromkeys(gate.task for gate in verification.forget)
        for attack in expand(verification.stress)
        if attack.max_recovery is not None
    )
