"""Removals that several processes compute together; started by torchrun, it leaves rank 0's results in a folder.

torchrun … tiny_workers.py MODEL OUT NAME…          the removals of these names
torchrun … tiny_workers.py MODEL OUT NAME --fail    the same, and worker 1 runs out of memory in the middle
torchrun … tiny_workers.py MODEL OUT NAME --kill    the same, and worker 1 is killed in the middle
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_removal import BASE, CLOSED, LONG, TOPICS, request, run

from govern.errors import GovernError
from govern.unlearning.activations import Window
from govern.unlearning.parallel import joined
from govern.unlearning.ranks import follow, hand_out

_RMU = {key: value for key, value in BASE.items() if key != "solver"} | {"method": "rmu"}

# Ten forget documents in batches of three: the last batch has one, so a worker is left without.
REMOVALS = {
    "gradient": (BASE, {"topics": TOPICS, "steps": 12}),
    "reference": (BASE, {"mask": "reference", "importance": "product"}),
    "relative": (BASE, {"coefficient": {"relative": 0.9}, "refresh_every": 2}),
    "rmu": (_RMU, {}),
    "closed_form": (CLOSED, {"topics": LONG, "ridge": 1e-4}),
}


def asked(path, name, **more):
    base, changes = REMOVALS[name]
    return replace(request(path, base, **changes), **more)


def break_down(how):
    calls, replay = [], Window.replay

    def broken(self, *arguments, **named):
        calls.append(1)
        if len(calls) == 9:
            if how == "--kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise torch.OutOfMemoryError
        return replay(self, *arguments, **named)

    Window.replay = broken


def main():
    torch.set_num_threads(1)
    model, out, *names = sys.argv[1:]
    failure = names.pop() if names[-1].startswith("--") else None
    with joined() as workers:
        if failure and workers.rank == 1:
            break_down(failure)
        for name in names:
            if workers.rank:
                follow(workers)
                continue
            request = asked(Path(model), name, workers=workers, checkpoint=Path(out))
            hand_out(request)
            edit = run(request)
            for checkpoint in Path(out).glob("*.safetensors"):
                checkpoint.unlink()
            losses = torch.tensor([[point.forget_loss, point.retain_loss] for point in edit.curve], dtype=torch.float64)
            figures = {f"figure/{key}": torch.tensor(value, dtype=torch.float64) for key, value in edit.figures.items()}
            results = Path(out) / "results"
            results.mkdir(exist_ok=True)
            save_file({**edit.tensors, "losses": losses, **figures}, results / f"{name}.safetensors")


if __name__ == "__main__":
    try:
        main()
    except GovernError as error:
        sys.exit(f"said by rank {os.environ['RANK']}: {error}")
