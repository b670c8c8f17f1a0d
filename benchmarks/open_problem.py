"""A removal that stays removed: what is right again about half of the facts after fine-tuning on the other half.

    OMP_NUM_THREADS=2 python benchmarks/open_problem.py
    OMP_NUM_THREADS=2 python benchmarks/open_problem.py --policies my_policy --seeds 0    # policies/my_policy.yaml

The facts of the quickstart's certifying questions are dealt into two halves by hash. On each half in turn the edited
model is fine-tuned with everything that the forget text says of all other elements (every weight, AdamW, 2e-5, 30
steps of 4 documents), and is then asked about that half, so that every fact is held out once. The unedited model goes
through the same, as control. Questions and perplexity are those that the policy certifies by; intervals are 95 %,
clustered by fact. A seed is that of the removal's direction and of the fine-tuning's order.

Targets, all at once: symbols at most 33 %, capitals down by at most 2 points, perplexity up by at most 3 %, at most
40 % right on held-out facts after relearning, and a removal of at most 30 seconds.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from machine import describe
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from govern.corpora import TokenCorpus, tokenize
from govern.evaluation.answers import Answers
from govern.evaluation.harness import ask_questions, perplexity
from govern.evaluation.questions import OwnTask, Question, load_questions
from govern.gates.choice import score
from govern.models import apply_delta, load_model, load_tokenizer
from govern.policy import load_policy
from govern.records import Score
from govern.stress.relearning import sentences_without
from govern.training import FineTuning, fine_tune
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.registry import METHODS
from govern.workflow.removal.plan import Planned, make_plan, question_sets

_POLICIES = Path(__file__).parents[1] / "policies"
_STEPS, _RATE, _DOCUMENTS, _SENTENCES = 30, 2e-5, 4, 4


def main() -> None:
    """Edit, ask, relearn, ask again; a row for each policy and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", default=["quickstart"], help="names in policies/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    print(describe())
    print(
        f"{'':26}{'seconds':>8}{'symbols':>21}{'capitals':>10}{'perplexity':>12}{'held out, relearned':>24}", flush=True
    )
    for number, name in enumerate(arguments.policies):
        loaded = load_policy(_POLICIES / f"{name}.yaml")
        planned = make_plan(loaded)
        tasks = {task.name: task for task in question_sets(loaded) if isinstance(task, OwnTask)}
        bench = Bench(planned, tasks["symbols"], tasks["capitals"])
        if not number:
            bench.row("unedited", None, load_model(planned.model.path, dtype=torch.float32), seed=arguments.seeds[0])
        for seed in arguments.seeds:
            model, seconds = edit(planned, seed)
            bench.row(f"{name}, seed {seed}", seconds, model, seed=seed)


def edit(planned: Planned, seed: int) -> tuple[PreTrainedModel, float]:
    """The edited model, and the seconds that the method took, from its files to the finished delta."""
    parameters = {**planned.plan.parameters, "seed": seed}
    settings = METHODS[str(parameters["method"])].settings(parameters)
    started = time.perf_counter()
    done = METHODS[settings.method].edit(RemovalRequest(planned.model.path, planned.topics, settings))
    seconds = time.perf_counter() - started
    model = load_model(planned.model.path, dtype=torch.float32)
    apply_delta(model, done.tensors)
    return model, seconds


class Bench:
    """The questions, the halves of the facts, and the text that an attacker has about each half's complement."""

    def __init__(self, planned: Planned, symbols: OwnTask, capitals: OwnTask) -> None:
        self.tokenizer = load_tokenizer(planned.model.path)
        self.symbols, self.capitals = load_questions(symbols), load_questions(capitals)
        (self.held_back,) = planned.held_back.values()
        (topic,) = planned.topics
        facts = sorted({str(question.cluster) for question in self.symbols}, key=_rank)
        cut = len(facts) // 2
        self.halves = [
            tuple(question for question in self.symbols if question.cluster in half)
            for half in (set(facts[:cut]), set(facts[cut:]))
        ]
        self.texts = [others(half, topic.forget, self.tokenizer) for half in self.halves]
        self.before: tuple[float, float] | None = None

    def row(self, label: str, seconds: float | None, model: PreTrainedModel, *, seed: int) -> None:
        """Ask, relearn on either half, ask again, print."""
        symbols = score([self.ask(model, self.symbols)], confidence=0.95)
        capitals = self.ask(model, self.capitals).accuracy
        reading = perplexity(model, self.held_back, name="held-back text")
        surprise = math.exp(sum(reading.nll) / sum(reading.tokens))
        relearned = []
        for half, text in zip(self.halves, self.texts, strict=True):
            attacked = copy.deepcopy(model)
            how = FineTuning(steps=_STEPS, learning_rate=_RATE, batch_size=_DOCUMENTS, seed=seed)
            fine_tune(attacked, text, how)
            relearned.append(self.ask(attacked, half))
        self.before = self.before or (capitals, surprise)
        change = f"{capitals - self.before[0]:+10.1%}{surprise / self.before[1] - 1:+12.1%}"
        if seconds is None:
            change = f"{capitals:10.1%}{surprise:12.2f}"
        taken = "" if seconds is None else f"{seconds:.1f}"
        held_out = score(relearned, confidence=0.95)
        print(f"{label:26}{taken:>8}{_shown(symbols):>21}{change}{_shown(held_out):>24}", flush=True)

    def ask(self, model: PreTrainedModel, questions: Sequence[Question]) -> Answers:
        """A model's answers, as completions of the question."""
        return ask_questions(model, self.tokenizer, "questions", "cloze", questions)


def others(half: Sequence[Question], forget: TokenCorpus, tokenizer: PreTrainedTokenizerBase) -> TokenCorpus:
    """Documents of four sentences of the forget text that name none of a half's facts."""
    sentences = sentences_without(half, forget, tokenizer)
    texts = [" ".join(sentences[start : start + _SENTENCES]) for start in range(0, len(sentences), _SENTENCES)]
    return tokenize(texts, tokenizer, max_tokens=256)


def _rank(fact: str) -> str:
    return sha256(f"half\n{fact}".encode()).hexdigest()


def _shown(found: Score) -> str:
    return f"{found.value:.1%} ({found.interval.low:.0%}–{found.interval.high:.0%})"


if __name__ == "__main__":
    main()
