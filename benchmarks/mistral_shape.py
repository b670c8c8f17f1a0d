"""A model of Mistral-7B's shape on this machine's CPU: what a removal reads, holds and takes.

    OMP_NUM_THREADS=2 python benchmarks/mistral_shape.py              # needs 15 GB of disk for a while
    OMP_NUM_THREADS=2 python benchmarks/mistral_shape.py --folder DIR  # keeps the checkpoint there, or uses it again

The checkpoint is random and cheap to make: 32 blocks that hold the same random numbers, in bfloat16, one shard for
every four blocks and one for the embedding and the head. Each solver runs in a process of its own:

- gradient: two steps on `mlp.down_proj` of layers 5 to 7, 4 × 256 tokens of forget and of retain text;
- closed form: layer 7, over 4 × 256 tokens of each.

Targets: under 8.5 and 12 GiB resident at the peak (the high-water mark of the process, libraries included), and only
the shards' needed tensors read (the bytes that the process caused to be fetched, from a file that is not cached).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import describe
from rmu_baseline import random_topic
from safetensors.torch import save_file
from transformers import MistralConfig

from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.registry import METHODS
from govern.unlearning.srmu import SrmuClosedFormSettings, SrmuSettings

_CONFIG = {
    "architectures": ["MistralForCausalLM"],
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": None,
    "dtype": "bfloat16",
}
_BLOCKS_A_SHARD = 4
_RECIPE_STEPS = 150

_COMMON = {
    "method": "srmu",
    "layer": 7,
    "dtype": "bfloat16",
    "coefficient": {"relative": 2.0},
    "retain_weight": 1200.0,
    "batch_size": 4,
}


def make(folder: Path) -> None:
    """Write the checkpoint, a shard at a time."""
    config = MistralConfig(**_CONFIG)
    config.save_pretrained(folder)
    random = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02, generator=random)

    d, n, kv = config.hidden_size, config.intermediate_size, config.num_key_value_heads * config.head_dim
    block = {
        "self_attn.q_proj": weight(d, d),
        "self_attn.k_proj": weight(kv, d),
        "self_attn.v_proj": weight(kv, d),
        "self_attn.o_proj": weight(d, d),
        "mlp.gate_proj": weight(n, d),
        "mlp.up_proj": weight(n, d),
        "mlp.down_proj": weight(d, n),
        "input_layernorm": torch.ones(d, dtype=torch.bfloat16),
        "post_attention_layernorm": torch.ones(d, dtype=torch.bfloat16),
    }
    shards = [
        {
            f"model.layers.{layer}.{name}.weight": tensor
            for layer in range(first, first + _BLOCKS_A_SHARD)
            for name, tensor in block.items()
        }
        for first in range(0, config.num_hidden_layers, _BLOCKS_A_SHARD)
    ]
    ends = weight(config.vocab_size, d)
    norm = torch.ones(d, dtype=torch.bfloat16)
    shards.append({"model.embed_tokens.weight": ends, "lm_head.weight": ends, "model.norm.weight": norm})
    places, size = {}, 0
    for number, tensors in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        # Tensors that share memory are not written twice by the library, so each is given its own.
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def measure(solver: str, folder: Path) -> dict[str, float]:
    """Run one solver in this process."""
    if solver == "gradient":
        train = {"modules": ["mlp.down_proj"], "layers": [5, 6, 7]}
        settings = SrmuSettings.model_validate({**_COMMON, "train": train, "steps": 2, "learning_rate": 5e-5})
        topic = random_topic(8, 256, _CONFIG["vocab_size"])
    else:
        train = {"modules": ["mlp.down_proj"], "layers": [7]}
        settings = SrmuClosedFormSettings.model_validate({**_COMMON, "train": train, "solver": "closed_form"})
        topic = random_topic(4, 256, _CONFIG["vocab_size"])
    ticks = []
    started, fetched = time.perf_counter(), _fetched()

    def progress(stage: str, *_: int, **__: float) -> None:
        if stage == "unlearn":
            ticks.append(time.perf_counter())

    METHODS["srmu"].edit(RemovalRequest(model_path=folder, topics=(topic,), settings=settings, progress=progress))
    return {
        "seconds": time.perf_counter() - started,
        "step": ticks[-1] - ticks[-2] if len(ticks) > 1 else 0.0,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "fetched": (_fetched() - fetched) / 2**30,
    }


def _fetched() -> int:
    """Bytes that this process has caused to be fetched from storage so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def _forget_cached(folder: Path) -> None:
    """Ask the system to drop the checkpoint's pages, so that reading them is seen."""
    for shard in folder.glob("*.safetensors"):
        with shard.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Make the checkpoint, run both solvers, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the checkpoint lies or is to lie; temporary by default")
    parser.add_argument("--solver", choices=["gradient", "closed form"], help="run this one alone, here, print JSON")
    arguments = parser.parse_args()
    if arguments.solver:
        print(json.dumps(measure(arguments.solver, arguments.folder)))
        return
    folder = arguments.folder or Path(tempfile.mkdtemp())
    try:
        if not (folder / "model.safetensors.index.json").exists():
            if shutil.disk_usage(folder.parent).free < 16e9:
                sys.exit(f"{folder.parent}: less than 16 GB are free")
            folder.mkdir(exist_ok=True)
            make(folder)
        stored = sum(shard.stat().st_size for shard in folder.glob("*.safetensors")) / 2**30
        shards = len(list(folder.glob("*.safetensors")))
        print(describe())
        print(f"Mistral-7B's shape, random, bfloat16, {stored:.1f} GiB in {shards} shards")
        print(f"{'':12}{'seconds':>10}{'a step':>10}{'peak GiB':>10}{'read GiB':>10}")
        for solver in ("gradient", "closed form"):
            _forget_cached(folder)
            command = [sys.executable, __file__, "--folder", str(folder), "--solver", solver]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            step = f"{found['step']:.1f}" if found["step"] else ""
            print(
                f"{solver:12}{found['seconds']:10.1f}{step:>10}{found['peak']:10.2f}{found['fetched']:10.2f}",
                flush=True,
            )
            if found["step"]:
                print(f"  {_RECIPE_STEPS} steps: {_RECIPE_STEPS * found['step'] / 60:.0f} minutes")
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
