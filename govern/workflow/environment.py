"""What a run ran on, as an auditor will want to read it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from govern.errors import UsageError
from govern.records import Environment
from govern.version import __version__

# Whatever computes an answer, a removal or an attack: a cache's key holds their versions.
_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "lm-eval",
    "numpy",
    "scipy",
    "accelerate",
    "peft",
    "scikit-learn",
    "torchao",
    "optimum-quanto",
    "bitsandbytes",
)


def describe_environment(device: str, *, workers: int = 1) -> Environment:
    """The environment of this process, one of `workers`. `device` is where tensors live, such as "cpu" or "cuda".

    Raises UsageError for a device that is not there.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device", where=device, hint="Leave --device out, or say cpu.")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError("this is no device that govern knows", where=device, hint="Say cpu or cuda.")
    commit, dirty = _checkout()
    return Environment(
        govern=__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        processor=torch.cuda.get_device_name() if device.startswith("cuda") else _processor(),
        device=device,
        threads=torch.get_num_threads(),
        workers=workers,
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        commit=commit,
        dirty=dirty,
    )


def default_device() -> str:
    """The first CUDA device where there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_memory_bytes() -> int:
    """The most memory this process has held, in bytes."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {os.cpu_count()} cores" if names else platform.machine()


def _checkout() -> tuple[str | None, bool | None]:
    """The commit of the checkout that govern runs from, and whether it has changes; None where it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit, status = (
            subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit.strip(), bool(status.strip())
