"""What is not a finite number in a model as it is: named, so that nobody looks for the fault in the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from govern.errors import RemovalError


def refuse_not_finite(model: nn.Module, run: Callable[[], object]) -> None:
    """Raise RemovalError with the name of the first module whose output holds a NaN or an infinity while `run` runs;
    return where there is none. Weights are looked at when a model is loaded."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if not found and isinstance(first, Tensor) and not first.isfinite().all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        raise RemovalError(
            f"what the base model computes at {found[0]!r} is not finite on this text",
            where="model.source",
            hint="The method is not at fault: start from a model whose numbers are finite.",
        )
