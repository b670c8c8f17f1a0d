"""Score a sweep's points on a Ray cluster: the one that RAY_ADDRESS names, or one of this machine's own cores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from govern.errors import GovernError, UsageError
from govern.unlearning.settings import MethodSettings
from govern.workflow.sweeps.points import Bench, Outcome, score_point

# How often a point is begun again where its worker is lost: another machine, or a process that ran out of memory.
_RETRIES = 3


def on_ray(bench: Bench, settings: Sequence[MethodSettings]) -> Iterator[tuple[int, Outcome]]:
    """Score points wherever Ray puts them, each as soon as it is done.

    Every worker keeps the model from one point to the next, and computes with as many threads as this process, so that
    a point's bits do not depend on where it ran. Model and question files must lie at the same paths on every machine.
    Raises UsageError where Ray is not installed or not to be reached, GovernError where a point loses every worker.
    """
    import torch

    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise UsageError(
            "Ray is not installed", where="--executor ray", hint="pip install 'govern-unlearning[ray]'"
        ) from None

    threads = torch.get_num_threads()
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray says that a node did not start with one that has no class of its own
        raise UsageError(
            f"the Ray cluster cannot be reached: {type(error).__name__}",
            where=os.environ.get("RAY_ADDRESS", "this machine"),
            hint="Start it with `ray start --head`, or unset RAY_ADDRESS to use this machine's cores.",
        ) from None
    try:
        remote: Any = ray.remote(score_point).options(
            num_cpus=threads,
            num_gpus=1 if bench.request.device.startswith("cuda") else 0,
            max_retries=_RETRIES,
            runtime_env={"env_vars": variables},
        )
        shared = ray.put(bench)
        waiting = {remote.remote(shared, each): number for number, each in enumerate(settings)}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), ray.get(done)
    except RayError as error:
        raise GovernError(
            f"a point lost its worker {_RETRIES + 1} times: {type(error).__name__}",
            where="--executor ray",
            hint="Look at the workers' memory and logs; then go on with: govern sweep --resume --executor ray",
        ) from None
    finally:
        ray.shutdown()
