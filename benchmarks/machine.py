"""What a table of measurements has to say of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def describe() -> str:
    """Processor, cores, threads and load, in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{model}, {cores}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"
