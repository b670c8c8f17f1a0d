"""A small removal; run as a script, one that reports each step on stdout, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tiny_decoders import documents

from govern.unlearning.protocol import RemovalRequest, Topic
from govern.unlearning.registry import METHODS

BASE = {
    "method": "srmu",
    "solver": "gradient",
    "layer": 2,
    "train": {"modules": ["mlp.down_proj"], "layers": [1, 2]},
    "dtype": "float32",
    "coefficient": 6.0,
    "retain_weight": 4.0,
    "steps": 7,
    "batch_size": 3,
    "learning_rate": 1e-2,
    "seed": 3,
}
CLOSED = {
    **{key: value for key, value in BASE.items() if key not in {"steps", "learning_rate"}},
    "solver": "closed_form",
    "ridge": 0.0,
    "batch_size": 8,
}
DOWN = tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2))
TOPICS = tuple(
    Topic(name, documents(f"{name} forget", count=10), documents(f"{name} retain", count=8))
    for name in ("bio", "cyber")
)


LONG = tuple(
    Topic(name, documents(f"{name} forget", count=30), documents(f"{name} retain", count=30))
    for name in ("bio", "cyber")
)


def request(path, base=BASE, *, topics=TOPICS[:1], checkpoint=None, progress=None, **changes):
    merged = {**base, **changes}
    settings = METHODS[merged["method"]].settings(merged)
    more = {"progress": progress} if progress else {}
    return RemovalRequest(model_path=path, topics=topics, settings=settings, checkpoint=checkpoint, **more)


def run(asked):
    return METHODS[asked.settings.method].edit(asked)


def same(left, right):
    assert left.curve == right.curve
    assert left.figures == right.figures
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name]), name


def report(stage, done, total, **values):
    if stage == "unlearn":
        print(done, flush=True)
        if done == total:
            sys.stdin.read()  # never ends: whoever waits to kill this must not find it gone


if __name__ == "__main__":
    from govern.unlearning.solvers import gradient

    torch.set_num_threads(1)
    gradient.STEPS_BETWEEN_CHECKPOINTS = 2
    model, checkpoint = map(Path, sys.argv[1:3])
    base, topics, more = (CLOSED, LONG[:1], {}) if "closed_form" in sys.argv else (BASE, TOPICS, {"steps": 40})
    run(request(model, base, topics=topics, checkpoint=checkpoint, progress=report, **more))
