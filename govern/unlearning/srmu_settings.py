"""SRMU's settings: what a policy's `removal` may say. No torch here, so that policies load in milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trained(Settings):
    """Which parameters may change: modules by name within each decoder block, and the blocks (from 0)."""

    modules: tuple[str, ...] = Field(default=("mlp.down_proj",), min_length=1)
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class Relative(Settings):
    """A coefficient as a multiple of the mean norm of h on forget text (Adaptive RMU's idea)."""

    relative: float = Field(gt=0)


class SweepRange(Settings):
    """An arithmetic grid, `stop` included only where a step lands on it; the paper's is 1, 11, …, 161."""

    start: float = Field(gt=0)
    stop: float = Field(gt=0)
    step: float = Field(gt=0)


class Sweep(Settings):
    """A coefficient that `govern sweep` has to choose first."""

    sweep: SweepRange


class SrmuSettings(Settings):
    """Selective Representation Misdirection for Unlearning (the paper's eqs. 2 to 5 and Algorithm 1).

    `layer` is the block whose output h is steered; `coefficient` is c; `retain_weight` is α; `mask: default` leaves
    out padding and the first token, `reference` averages over everything; `refresh_every` 0 computes the importance
    map once (Algorithm 1), N recomputes it from the frozen model on the current batches every N steps (eq. 4).
    """

    method: Literal["srmu"]
    solver: Literal["gradient"] = "gradient"
    layer: int = Field(ge=0)
    train: Trained
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    importance: Literal["ratio", "difference", "product", "uniform"] = "ratio"
    difference_weight: float = Field(default=1.0, ge=0, description="λ of the difference map (unpublished)")
    statistic: Literal["mean_abs", "rms"] = "mean_abs"
    direction: Literal["rademacher", "ones", "minus_ones", "uniform01", "zero"] = "rademacher"
    direction_scale: Literal["unit", "raw"] = "unit"
    coefficient: Annotated[float, Field(gt=0)] | Relative | Sweep
    retain_weight: float = Field(ge=0)
    mask: Literal["default", "reference"] = "default"
    refresh_every: int = Field(default=0, ge=0)
    steps: int = Field(default=150, ge=1)
    batch_size: int = Field(default=4, ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = Field(default=0, ge=0)
