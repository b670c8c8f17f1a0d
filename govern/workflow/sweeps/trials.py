"""A sweep's points: those that the log holds, and the others tried, judged and logged as soon as they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from govern.audit import Log
from govern.evaluation.answers import Answers, Perplexity
from govern.gates.choice import score, standing
from govern.gates.registry import Threshold, hold
from govern.policy import LoadedPolicy, TaskGate
from govern.progress import Progress
from govern.records import GateResult, Score, SweepPoint
from govern.records.told import told
from govern.unlearning.settings import MethodSettings
from govern.workflow.removal.plan import Planned
from govern.workflow.sweeps.ablation import Trial
from govern.workflow.sweeps.methods import Unmade
from govern.workflow.sweeps.points import Bench, Outcome, SelectionAnswers, score_point
from govern.workflow.sweeps.prepared import Sets
from govern.workspace import RunFolder

# How points are scored: yields the number of a setting and its outcome, in any order.
Runner = Callable[[Bench, Sequence[MethodSettings]], Iterator[tuple[int, Outcome]]]


def serial(bench: Bench, settings: Sequence[MethodSettings]) -> Iterator[tuple[int, Outcome]]:
    """One point after another, in this process."""
    for number, each in enumerate(settings):
        yield number, score_point(bench, each)


@dataclass(frozen=True)
class Trials:
    """Runs trials that the log does not hold yet, and writes each into it as soon as it is there."""

    log: Log
    folder: RunFolder
    loaded: LoadedPolicy
    planned: Planned
    bench: Bench
    sets: Sets
    before: SelectionAnswers
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


def judge(
    loaded: LoadedPolicy, sets: Sets, before: SelectionAnswers, after: SelectionAnswers
) -> tuple[GateResult, ...]:
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


def scores(loaded: LoadedPolicy, sets: Sets, said: SelectionAnswers) -> tuple[Score, Score]:
    """How much of what has to go is left, and how much of what must stay: accuracies over selection questions."""
    confidence = loaded.policy.verification.confidence
    forget, utility = gated_answers(loaded, sets, said)
    return score(forget, confidence=confidence), score(utility, confidence=confidence)


def under_attack(loaded: LoadedPolicy, said: SelectionAnswers) -> Score | None:
    """How much of what has to go is right after the attack, of the half of the facts that it was not made with."""
    if not said.attacked:
        return None
    return score(said.attacked, confidence=loaded.policy.verification.confidence)


def gated_answers(loaded: LoadedPolicy, sets: Sets, said: SelectionAnswers) -> tuple[list[Answers], list[Answers]]:
    """The answers that stand for the forget gates and for the utility gates, each set once."""
    verification = loaded.policy.verification
    tasks = [gate for gate in verification.utility if isinstance(gate, TaskGate)]
    pairs = [
        list(dict.fromkeys((sets.name(gate.task), gate.metric) for gate in gates))
        for gates in (verification.forget, tasks)
    ]
    forget, utility = ([said.answered(*pair) for pair in each] for each in pairs)
    return forget, utility


def _perplexity(said: SelectionAnswers, name: str) -> Perplexity:
    return next(found for found in said.perplexities if found.task == name)
