"""How the time of a step grows: with the tokens in a batch, and with the layers above the one that is steered.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --svg scaling.svg

RMU at layer 3 of random Llamas (d 512, float32), documents of 256 tokens, no batch twice. Given are the CPU seconds
of the fastest step, since other work on the machine can only add to them. Targets: linear in the tokens, and the
same whatever lies above layer 3.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import torch
from machine import describe
from rmu_baseline import random_topic
from transformers import LlamaConfig, LlamaForCausalLM

from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.registry import METHODS
from govern.unlearning.rmu import RmuSettings

_VOCABULARY = 1000
_DOCUMENT = 256


def save_model(folder: Path, layers: int) -> Path:
    """A random Llama of that many layers."""
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder / str(layers))
    return folder / str(layers)


def fastest_step(model: Path, batch: int, steps: int) -> float:
    """CPU seconds of the fastest of these steps with that many documents of each kind; one more warms up."""
    settings = RmuSettings.model_validate(
        {
            "method": "rmu",
            "layer": 3,
            "train": {"layers": [1, 2, 3]},
            "dtype": "float32",
            "coefficient": 10.0,
            "retain_weight": 1200.0,
            "batch_size": batch,
            "steps": steps + 1,
            "learning_rate": 1e-4,
        }
    )
    ticks = []

    def progress(stage: str, *_: int, **__: float) -> None:
        if stage == "unlearn":
            ticks.append(time.process_time())

    topic = random_topic(batch * (steps + 1), _DOCUMENT, _VOCABULARY)
    METHODS["rmu"].edit(RemovalRequest(model_path=model, topics=(topic,), settings=settings, progress=progress))
    return min(after - before for before, after in itertools.pairwise(ticks))


def draw(points: dict[int, float], path: Path) -> None:
    """The curve over tokens, with the straight line through its last point and the origin."""
    width, height, margin = 480, 300, 48
    most, longest = max(points), max(points.values())

    def place(tokens: float, seconds: float) -> str:
        x = margin + tokens / most * (width - 2 * margin)
        return f"{x:.1f},{height - margin - seconds / longest * (height - 2 * margin):.1f}"

    measured = " ".join(place(tokens, seconds) for tokens, seconds in points.items())
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        f'<polyline points="{place(0, 0)} {place(most, longest)}" fill="none" stroke="#999" stroke-dasharray="4"/>'
        f'<polyline points="{measured}" fill="none" stroke="#1f5fa8" stroke-width="2"/>'
        f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">tokens of each kind in a batch, to {most}</text>'
        f'<text x="12" y="24">CPU seconds a step, to {longest:.2f}</text></svg>\n'
    )


def main() -> None:
    """Measure both curves and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--svg", type=Path, help="draw the curve over tokens there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = {layers: save_model(Path(folder), layers) for layers in (4, 8, 16, 32)}
        tokens = {_DOCUMENT * batch: fastest_step(models[4], batch, arguments.steps) for batch in (1, 2, 4, 8, 16)}
        layers = {count: fastest_step(path, 4, arguments.steps) for count, path in models.items()}
    print(describe())
    print(f"{'tokens':>8}{'seconds':>10}{'µs a token':>12}")
    for count, seconds in tokens.items():
        print(f"{count:8}{seconds:10.3f}{1e6 * seconds / count:12.0f}")
    print(f"{'layers':>8}{'seconds':>10}{'of the first':>14}")
    for count, seconds in layers.items():
        print(f"{count:8}{seconds:10.3f}{seconds / layers[4]:14.2f}")
    if arguments.svg:
        draw(tokens, arguments.svg)


if __name__ == "__main__":
    main()
