"""RMU's published loop beside ours, on SmolLM2: the losses of each step, time per step and memory.

    OMP_NUM_THREADS=2 python benchmarks/rmu_baseline.py
    OMP_NUM_THREADS=2 python benchmarks/rmu_baseline.py --tokens 64 --dtype bfloat16

`reference` below is a plain transcription of what the public code does (https://github.com/centerforaisafety/wmdp, its
rmu/unlearn.py): two whole models, three whole forwards a step, a hook on block ℓ, and gradients for all that a forward
has touched, since nothing is frozen. Each side runs in a process of its own and sees the same batches, no batch twice.

Memory is the most that the process ever held (its high-water mark) above a bare interpreter: one that has imported
torch, transformers and the model's class, and loaded nothing.

Targets: the same losses, a step at least 6 times faster, at most a quarter of the memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from machine import describe
from torch.nn.functional import mse_loss

from govern.corpora.tokens import TokenCorpus
from govern.sources import resolve_model
from govern.unlearning.batches import Batch, Deck, generator
from govern.unlearning.direction import direction
from govern.unlearning.protocol import RemovalRequest, Topic
from govern.unlearning.registry import METHODS
from govern.unlearning.rmu import RmuSettings

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Losses = list[tuple[float, float]]
Tick = Callable[[], None]


def reference(path: Path, topic: Topic, settings: RmuSettings, tick: Tick = lambda: None) -> Losses:
    """The forget and retain loss of each step, the latter without its weight. `tick` is called after each step."""
    updated, frozen = (
        transformers.AutoModelForCausalLM.from_pretrained(path, dtype=_DTYPES[settings.dtype]) for _ in range(2)
    )
    updated.train()
    down = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in settings.train.layers]
    params = [parameter for name, parameter in updated.named_parameters() if name in down]
    optimizer = torch.optim.AdamW(params, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    updated_module, frozen_module = (model.model.layers[settings.layer] for model in (updated, frozen))
    control, batches = control_vector(topic, settings, updated.config.hidden_size), same_batches(topic, settings)

    losses = []
    for forget, retain in batches:
        steered = forward_with_cache(updated, forget, module=updated_module, no_grad=False)
        forget_loss = mse_loss(steered, control.expand_as(steered))
        kept = forward_with_cache(updated, retain, module=updated_module, no_grad=False)
        retain_loss = mse_loss(kept, forward_with_cache(frozen, retain, module=frozen_module, no_grad=True))
        loss = forget_loss + settings.retain_weight * retain_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((forget_loss.item(), retain_loss.item()))
        tick()
    return losses


def forward_with_cache(model: torch.nn.Module, batch: Batch, *, module: torch.nn.Module, no_grad: bool) -> torch.Tensor:
    """The output of `module` in a forward of the whole model, [batch, tokens, d]."""
    cache = []
    hook = module.register_forward_hook(
        lambda _module, _input, output: cache.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.set_grad_enabled(not no_grad):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    hook.remove()
    return cache[0]


def control_vector(topic: Topic, settings: RmuSettings, width: int) -> torch.Tensor:
    """c · u, drawn as our `rmu` draws it, since the loops are to be compared and not two draws."""
    random = generator(f"{settings.seed}/{topic.name}/direction")
    u = direction("uniform01", width, scale="unit", generator=random)
    return (settings.coefficient * u).to(_DTYPES[settings.dtype])


def same_batches(topic: Topic, settings: RmuSettings) -> list[tuple[Batch, Batch]]:
    """The forget and the retain batch of each step, in the order in which our `rmu` visits them."""
    decks = [
        Deck.deal(
            corpus, batch_size=settings.batch_size, mask=settings.mask, seed=f"{settings.seed}/{topic.name}/{role}"
        )
        for role, corpus in (("forget", topic.forget), ("retain", topic.retain))
    ]
    return [tuple(deck.batch(deck.visit(step)) for deck in decks) for step in range(settings.steps)]


def ours(path: Path, topic: Topic, settings: RmuSettings, tick: Tick = lambda: None) -> Losses:
    """The same from `method: rmu`."""

    def progress(stage: str, *_: int, **__: float) -> None:
        if stage == "unlearn":
            tick()

    edit = METHODS["rmu"].edit(RemovalRequest(model_path=path, topics=(topic,), settings=settings, progress=progress))
    return [(point.forget_loss, point.retain_loss) for point in edit.curve]


SIDES = {"reference": reference, "ours": ours}


def random_topic(documents: int, tokens: int, vocabulary: int) -> Topic:
    """Documents of random tokens, all of one length: what they say costs nothing, and so matters to nobody here."""

    def corpus(name: str) -> TokenCorpus:
        ids = torch.randint(vocabulary, (documents, tokens), generator=generator(name))
        return TokenCorpus(tuple(map(tuple, ids.tolist())))

    return Topic("random", corpus("forget"), corpus("retain"))


def measure(side: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one side in this process: its losses, wall and CPU seconds of each step, and MiB above the bare process."""
    path = resolve_model("builtin:smollm2-135m-instruct", revision=None, base=Path()).path
    settings = RmuSettings.model_validate(
        {
            "method": "rmu",
            "layer": 7,
            "train": {"modules": ["mlp.down_proj"], "layers": [5, 6, 7]},
            "dtype": arguments.dtype,
            "coefficient": 100.0,
            "retain_weight": 1200.0,
            "mask": "reference",
            "batch_size": arguments.batch,
            "steps": arguments.steps,
            "learning_rate": 1e-3,
        }
    )
    topic = random_topic(arguments.batch * arguments.steps, arguments.tokens, vocabulary=49152)
    import transformers.models.llama.modeling_llama  # part of the bare process

    transformers.utils.logging.disable_progress_bar()
    bare = _resident_peak()
    ticks: list[tuple[float, float]] = []
    losses = SIDES[side](path, topic, settings, lambda: ticks.append((time.perf_counter(), time.process_time())))
    wall, cpu = (
        [after - before for before, after in itertools.pairwise(column)] for column in zip(*ticks, strict=True)
    )
    return {"losses": losses, "wall": wall, "cpu": cpu, "bare": bare, "memory": _resident_peak() - bare}


def _resident_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run both sides in turn, several times, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256, help="tokens in a document")
    parser.add_argument("--batch", type=int, default=4, help="documents in a batch")
    parser.add_argument("--steps", type=int, default=6, help="the first warms up and is not timed")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side, in turn")
    parser.add_argument("--dtype", choices=list(_DTYPES), default="float32")
    parser.add_argument("--side", choices=list(SIDES), help="run this side alone, here, and print JSON")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments)))
        return
    runs = {side: [] for side in SIDES}
    for _ in range(arguments.repeats):
        for side, found in runs.items():
            child = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--side", side], stdout=subprocess.PIPE, text=True, check=True
            )
            found.append(json.loads(child.stdout))
    show(runs, arguments)


def show(runs: dict[str, list[dict]], arguments: argparse.Namespace) -> None:
    """The table: the fastest step of each side and how far its steps spread, memory, and the largest difference."""
    shape = f"{arguments.dtype}, {arguments.batch} × {arguments.tokens} tokens of each kind"
    print(describe())
    print(f"SmolLM2-135M, layer 7, down_proj of 5 to 7; {shape}; {arguments.repeats} processes a side")
    print(f"{'':22}{'reference':>12}{'ours':>12}{'ratio':>8}")
    for key, unit in (("wall", "seconds a step"), ("cpu", "CPU seconds a step")):
        steps = [[step for run in runs[side] for step in run[key]] for side in SIDES]
        least, most = [min(side) for side in steps], [max(side) for side in steps]
        print(f"{unit:22}{least[0]:12.3f}{least[1]:12.3f}{least[0] / least[1]:8.2f}")
        print(f"{'  slowest of them':22}{most[0]:12.3f}{most[1]:12.3f}{most[0] / most[1]:8.2f}")
    memory = [max(run["memory"] for run in runs[side]) for side in SIDES]
    print(f"{'MiB above bare':22}{memory[0]:12.0f}{memory[1]:12.0f}{memory[1] / memory[0]:8.2f}")
    print(f"{'  (bare)':22}" + "".join(f"{max(run['bare'] for run in runs[side]):12.0f}" for side in SIDES))
    print(f"largest relative difference of a loss: {difference(*(runs[side][0]['losses'] for side in SIDES)):.1e}")


def difference(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> float:
    """The largest relative difference of two curves; retain losses, zero at first, are held against their largest."""
    columns = zip(zip(*left, strict=True), zip(*right, strict=True), strict=True)
    return max(
        abs(one - other) / max(ours) for theirs, ours in columns for one, other in zip(theirs, ours, strict=True)
    )


if __name__ == "__main__":
    main()
