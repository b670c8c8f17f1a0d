"""What a sweep costs: the paper's grid in closed form and by gradient, against one removal. One command, one table.

    python benchmarks/sweep.py                     # SmolLM2-135M, layer 7, the quickstart's text; some minutes
    python benchmarks/sweep.py --points 5          # more points by gradient before the rest is extrapolated

The grid is 17 coefficients × 3 maps × 3 weights of the retain text, 153 points, without scoring. Every run starts from
the model's files. By gradient only `--points` of them are made, on one trunk, and the others extrapolated from all but
the first. Given are CPU seconds, since other work on the machine adds to the wall clock of whichever run it meets.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from machine import describe

from govern.corpora import tokenize
from govern.corpora.tokens import TokenCorpus
from govern.models import load_tokenizer
from govern.sources import resolve_model, resolve_texts
from govern.unlearning.points import Points
from govern.unlearning.protocol import RemovalRequest, Topic
from govern.unlearning.registry import METHODS
from govern.unlearning.settings import SweepRange
from govern.unlearning.srmu import SrmuClosedFormSettings, SrmuSettings
from govern.unlearning.sweeping import grid_of

_POLICIES = Path(__file__).parents[1] / "policies"

_COMMON = {"method": "srmu", "layer": 7, "train": {"layers": [7]}, "dtype": "float32", "retain_weight": 300.0}
_GRID = {"sweep": SweepRange(start=10, stop=1700, step=100)}
_AXES = {"importance": ("ratio", "product", "difference"), "retain_weight": (100.0, 300.0, 1000.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--points", type=int, default=3, help="points by gradient that are really made")
    parser.add_argument("--steps", type=int, default=60, help="of the gradient solver")
    options = parser.parse_args()

    path = resolve_model(options.model, revision=None, base=_POLICIES).path
    tokenizer = load_tokenizer(path)

    def read(name: str) -> TokenCorpus:
        texts = resolve_texts(
            f"file:quickstart/{name}.jsonl", subset=None, split=None, column="text", revision=None, base=_POLICIES
        ).texts
        return tokenize(texts, tokenizer, max_tokens=64)

    forget, retain = read("forget"), read("retain")
    topics = (Topic("symbols", forget, retain),)
    closed = SrmuClosedFormSettings(**_COMMON, solver="closed_form", coefficient=_GRID, batch_size=16)
    descent = SrmuSettings(**_COMMON, coefficient=_GRID, steps=options.steps, learning_rate=1.5e-3)

    def seconds_alone(settings: object) -> float:
        started = time.process_time()
        METHODS["srmu"].edit(RemovalRequest(path, topics, settings))
        return time.process_time() - started

    def seconds_together(points: list[object]) -> list[float]:
        """The time at which each point was done, from the start."""
        started, ends = time.process_time(), []
        shared = Points(RemovalRequest(path, topics, points[0]))
        for point in points:
            shared.edit(point)
            ends.append(time.process_time() - started)
        return ends

    grid = list(grid_of(closed, _AXES)[1])
    by_gradient = list(grid_of(descent, _AXES)[1])
    seconds_alone(grid[0])  # files and libraries are warm for both
    one = seconds_alone(grid[0])
    all_closed = seconds_together(grid)
    one_gradient = seconds_alone(by_gradient[0])
    some = seconds_together(by_gradient[: options.points])
    further = (some[-1] - some[0]) / (options.points - 1)
    whole_gradient = some[0] + further * (len(by_gradient) - 1)

    print(f"{options.model}, layer 7, float32, {forget.tokens:,} + {retain.tokens:,} tokens, {describe()}")
    print("| what | points | CPU seconds | a further point | against one removal |")
    print("|---|---|---|---|---|")
    print(f"| closed form, one removal | 1 | {one:.1f} | | 1 |")
    print(
        f"| closed form, the whole grid | {len(grid)} | {all_closed[-1]:.1f} "
        f"| {(all_closed[-1] - all_closed[0]) / (len(grid) - 1):.3f} | {all_closed[-1] / one:.2f} |"
    )
    print(f"| gradient, {options.steps} steps, one removal | 1 | {one_gradient:.1f} | | 1 |")
    print(
        f"| gradient on a shared trunk, extrapolated from {options.points} | {len(grid)} | {whole_gradient:.0f} "
        f"| {further:.1f} | {whole_gradient / one_gradient:.0f} |"
    )
    print(f"\nThe grid in closed form costs {whole_gradient / all_closed[-1]:.0f} times less than by gradient.")


if __name__ == "__main__":
    main()
