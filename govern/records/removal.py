"""A removal: the result of a method on a model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from govern.records.base import Record


class TensorChange(Record):
    """One changed tensor of the checkpoint. `relative_change` is ‖ΔW‖ / ‖W‖ (Frobenius) after the cast."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    relative_change: float


class CurvePoint(Record):
    """One step of a solver. `retain_loss` is None where the method does not look at retain text in that step.

    Of methods that steer activations, losses are means over real tokens and features; of others, what each minimises.
    """

    step: int
    topic: str
    forget_loss: float
    retain_loss: float | None
    loss: float
    gradient_norm: float | None


class EditCheck(Record):
    """What was found of the edited model's bytes, as they would be written, after the removal.

    `unchanged` tensors lie outside the delta and are byte-equal to the base's, `changed` ones differ. `copies` are the
    stored names of each tied weight that the checkpoint stores more than once: the delta writes all of them alike.
    """

    changed: int
    unchanged: int
    copies: tuple[tuple[str, ...], ...] = ()


class Removal(Record):
    """A delta bound to its base model, and how it came about.

    `figures` holds the numbers a reader needs to judge the edit, by name: per topic the target's norm, the absolute
    coefficient, the mean activation norm, the first token's drift. `check` is left out of the JSON where nothing was
    checked, as by earlier versions.
    """

    format_version: Literal[1] = 1
    run: str
    plan_digest: str
    base_model_digest: str
    edited_model_digest: str
    method: str
    solver: str | None
    delta_sha256: str
    tensors: tuple[TensorChange, ...]
    curve: tuple[CurvePoint, ...]
    figures: dict[str, float]
    seconds: float
    peak_memory_bytes: int
    resumed: int
    check: EditCheck | None = Field(default=None, exclude_if=lambda check: check is None)
