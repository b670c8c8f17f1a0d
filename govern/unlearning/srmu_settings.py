"""SRMU's settings: what a policy's `removal` may say. No torch here, so that policies load in milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trained(Settings):
    """Which parameters may change: modules by name within each decoder block, and the blocks (from 0)."""

    modules: tuple[str, ...] = Field(
        default=("mlp.down_proj",), min_length=1, description="Module names within a decoder block."
    )
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, description="Decoder blocks, from 0.")


class Relative(Settings):
    """A coefficient as a multiple of the mean norm of h on forget text (Adaptive RMU's idea)."""

    relative: float = Field(gt=0, description="The multiple; Adaptive RMU uses 5.")


class SweepRange(Settings):
    """An arithmetic grid, `stop` included only where a step lands on it; the paper's is 1, 11, …, 161."""

    start: float = Field(gt=0, description="The first value.")
    stop: float = Field(gt=0, description="No value lies above it.")
    step: float = Field(gt=0, description="The distance between two values.")


class Sweep(Settings):
    """A coefficient that `govern sweep` has to choose first."""

    sweep: SweepRange = Field(description="The values to try.")


class SrmuSettings(Settings):
    """Selective Representation Misdirection for Unlearning (the paper's eqs. 2 to 5 and Algorithm 1).

    `layer` is the block whose output h is steered; `coefficient` is c; `retain_weight` is α; `mask: default` leaves
    out padding and the first token, `reference` averages over everything; `refresh_every` 0 computes the importance
    map once (Algorithm 1), N recomputes it from the frozen model on the current batches every N steps (eq. 4).
    """

    method: Literal["srmu"] = Field(description="The removal method.")
    solver: Literal["gradient"] = Field(default="gradient", description="How the objective is minimised.")
    layer: int = Field(ge=0, description="The decoder block, from 0, whose output is steered.")
    train: Trained = Field(description="The parameters that may change.")
    dtype: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="The precision of the forward pass; trained weights have float32 masters."
    )
    importance: Literal["ratio", "difference", "product", "uniform"] = Field(
        default="ratio", description="The importance map over features."
    )
    difference_weight: float = Field(default=1.0, ge=0, description="λ of the difference map (unpublished)")
    statistic: Literal["mean_abs", "rms"] = Field(
        default="mean_abs", description="How a feature's activations are averaged for the map."
    )
    direction: Literal["rademacher", "ones", "minus_ones", "uniform01", "zero"] = Field(
        default="rademacher", description="The misdirection V; all but rademacher are ablations."
    )
    direction_scale: Literal["unit", "raw"] = Field(
        default="unit", description="unit: V has norm 1, so that c has the scale of RMU's. raw: V as it is."
    )
    coefficient: Annotated[float, Field(gt=0)] | Relative | Sweep = Field(
        description="c: a number, {relative: …} or {sweep: …}."
    )
    retain_weight: float = Field(ge=0, description="α, the weight of the retain loss.")
    mask: Literal["default", "reference"] = Field(
        default="default", description="default leaves out padding and the first token; reference leaves out nothing."
    )
    refresh_every: int = Field(
        default=0, ge=0, description="0: one importance map. N: a new one from the current batches every N steps."
    )
    steps: int = Field(default=150, ge=1, description="Optimiser steps.")
    batch_size: int = Field(default=4, ge=1, description="Documents in a batch, of forget and of retain text each.")
    learning_rate: float = Field(gt=0, description="AdamW's learning rate.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay.")
    seed: int = Field(default=0, ge=0, description="The seed of the direction and of the order of documents.")
