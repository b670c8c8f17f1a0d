"""High entanglement: what SRMU and RMU keep of neighbouring knowledge at the same forgetting.

    OMP_NUM_THREADS=2 python benchmarks/entanglement.py

policies/quickstart_high.yaml: the symbols of the elements have to go, and the text to retain is about the numbers of
the same elements. Each method gets the policy's settings and each of the coefficients, with every seed; RMU has no map
and no signs, and is otherwise the same. Utility is the accuracy on the elements' numbers, forgetting that on their
symbols, both on the questions that certify. For each seed a method's utility at one level of forgetting is read off its
points by a straight line between the two that enclose it, the unedited model being the point at c = 0; the differences
are paired by seed, and their interval is Student's, 95 %.

Target: SRMU's utility at matched forgetting is not below RMU's.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import torch
from machine import describe
from scipy.stats import t

from govern.evaluation.harness import ask_questions
from govern.evaluation.questions import OwnTask, load_questions
from govern.models import apply_delta, load_model, load_tokenizer, read_tensors
from govern.policy import load_policy
from govern.unlearning.points import Points
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.registry import METHODS
from govern.workflow.removal.plan import make_plan, question_sets

_POLICY = Path(__file__).parents[1] / "policies" / "quickstart_high.yaml"
_SRMU_ALONE = {
    "solver",
    "importance",
    "difference_weight",
    "statistic",
    "direction",
    "direction_scale",
    "refresh_every",
}

# Forgetting and utility, both shares of right answers.
Place = tuple[float, float]


def main() -> None:
    """Edit and ask for each method, seed and coefficient; print the points and the matched comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coefficients", type=float, nargs="+", default=[300, 1000, 3000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--levels", type=float, nargs="+", default=[0.6, 0.5, 0.4, 0.3])
    arguments = parser.parse_args()
    loaded = load_policy(_POLICY)
    planned = make_plan(loaded)
    tasks = {task.name: task for task in question_sets(loaded) if isinstance(task, OwnTask)}
    questions = [load_questions(tasks[name]) for name in ("symbols", "numbers")]
    model, tokenizer = load_model(planned.model.path, dtype=torch.float32), load_tokenizer(planned.model.path)

    def ask() -> Place:
        forget, utility = (ask_questions(model, tokenizer, "questions", "cloze", each).accuracy for each in questions)
        return forget, utility

    print(describe())
    print(f"{len(questions[0])} questions about symbols, {len(questions[1])} about numbers", flush=True)
    before = ask()
    print(f"{'unedited':24}{before[0]:9.1%}{before[1]:9.1%}", flush=True)
    points = Points(RemovalRequest(planned.model.path, planned.topics, None))
    curves: dict[tuple[str, int], list[Place]] = {}
    for seed in arguments.seeds:
        for name in ("srmu", "rmu"):
            places = curves.setdefault((name, seed), [before])
            for c in arguments.coefficients:
                given = {**planned.plan.parameters, "method": name, "seed": seed, "coefficient": c}
                if name != "srmu":
                    given = {key: value for key, value in given.items() if key not in _SRMU_ALONE}
                edit = points.edit(METHODS[name].settings(given))
                original = read_tensors(planned.model.path, edit.tensors)
                apply_delta(model, edit.tensors)
                places.append(ask())
                apply_delta(model, original)
                label = f"{name}, seed {seed}, c {c:g}"
                print(f"{label:24}{places[-1][0]:9.1%}{places[-1][1]:9.1%}", flush=True)
    print("\nnumbers kept where so many symbols are left")
    print(f"{'symbols':>8}{'srmu':>9}{'rmu':>9}{'difference':>12}{'95 % interval':>20}{'seeds':>7}")
    for level in arguments.levels:
        pairs = [(at(curves["srmu", seed], level), at(curves["rmu", seed], level)) for seed in arguments.seeds]
        print(_matched(level, [(one, other) for one, other in pairs if one is not None and other is not None]))


def at(places: list[Place], level: float) -> float | None:
    """Utility where forgetting crosses a level for the first time; None where it never does."""
    for (above, kept_above), (below, kept_below) in pairwise(places):
        if above >= level >= below and above > below:
            share = (above - level) / (above - below)
            return kept_above + share * (kept_below - kept_above)
    return None


def _matched(level: float, pairs: list[Place]) -> str:
    if len(pairs) < 2:
        return f"{level:8.0%}  reached by both methods with {len(pairs)} seeds"
    differences = [one - other for one, other in pairs]
    half = float(t.ppf(0.975, len(pairs) - 1)) * stdev(differences) / len(pairs) ** 0.5
    srmu, rmu = (mean(pair[side] for pair in pairs) for side in (0, 1))
    middle = mean(differences)
    interval = f"{100 * (middle - half):+.1f} to {100 * (middle + half):+.1f}"
    return f"{level:8.0%}{srmu:9.1%}{rmu:9.1%}{100 * middle:+12.1f}{interval:>20}{len(pairs):7}"


if __name__ == "__main__":
    main()
