"""What was done to the model: the method, its figures, its losses over the steps, and the tensors it changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from govern.records import Removal
from govern.reporting import forms
from govern.reporting.charts import sample
from govern.reporting.facts import Documents, Fact, Field, Listing, Table, code, number

_CURVE_ROWS = 9
# Figures of side effects, by the last part of their names; a topic or a layer may stand in front.
_SIDE_EFFECTS = {"first_token_drift"}

METHOD = (
    code("removal/method", "Method"),
    code("removal/solver", "Solver", forms.or_else(forms.plain, "none")),
    number("plan/seed", "Seed", forms.plain),
    number("removal/seconds", "Time of the removal", forms.seconds),
    number("removal/peak_memory_bytes", "Peak memory", forms.mebibytes),
    number("removal/resumed", "Times resumed after an interruption"),
)
_CHANGE = partial(forms.percent, decimals=2)
TENSORS = Listing(
    "Changed tensors",
    "/removal/tensors",
    (
        code("name", "Tensor"),
        Field("shape", "Shape", lambda shape: " × ".join(map(str, shape))),
        Field("dtype", "Type"),
        number("relative_change", "Relative change", _CHANGE, heading="Relative change ‖ΔW‖/‖W‖"),
    ),
)


def curve(documents: Documents, removal: Removal) -> Table:
    """The losses, where the method looks at retain text and measures gradients those as well."""
    rows = sample(len(removal.curve), _CURVE_ROWS)
    shown = [removal.curve[index] for index in rows]
    retain = any(point.retain_loss is not None for point in shown)
    gradient = any(point.gradient_norm is not None for point in shown)
    return documents.table(
        "Losses at some of the steps, the first and the last included",
        (
            number("step", "Step"),
            Field("topic", "Topic"),
            number("forget_loss", "Forget loss", forms.short),
            *([number("retain_loss", "Retain loss", forms.or_else(forms.short, "none"))] if retain else []),
            number("loss", "Loss", forms.short),
            *([number("gradient_norm", "Gradient norm", forms.short)] if gradient else []),
        ),
        (f"/removal/curve/{index}" for index in rows),
    )


def figures(documents: Documents) -> tuple[tuple[Fact, ...], tuple[Fact, ...]]:
    """The method's figures: those that are side effects, and those that describe it."""
    found = documents.facts("/removal/figures", kind="number")
    aside = [figure for figure in found if figure.label.rpartition(".")[2] in _SIDE_EFFECTS]
    return tuple(aside), tuple(figure for figure in found if figure not in aside)


def shares(values: Sequence[float]) -> tuple[str, ...]:
    """Each value in per cent of the greatest, for bars."""
    greatest = max(values, default=0.0) or 1.0
    return tuple(f"{100 * value / greatest:.2f}" for value in values)
