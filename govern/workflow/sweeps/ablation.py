"""The paper's ablations as settings to try: Table 4's rows, at equal c and at equal ‖T‖, and Figure 2's curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from govern.records import SweepPoint
from govern.unlearning.settings import MethodSettings, Relative
from govern.unlearning.sweeping import changed, swept_coefficient

EQUAL_C = "equal c"
EQUAL_LENGTH = "equal ‖T‖"
CURVE = "curve"

FULL = "SRMU (full)"

# Table 4's variants. RMU is no part of SRMU; it is the row to compare with.
VARIANTS: dict[str, dict[str, str]] = {
    "RMU": {"method": "rmu"},
    FULL: {},
    "T = 0": {"direction": "zero"},
    "uniform map": {"importance": "uniform"},
    "fixed +1 direction": {"direction": "ones"},
    "fixed −1 direction": {"direction": "minus_ones"},
    "random direction in [0, 1)": {"direction": "uniform01"},
}

MAPS = ("ratio", "product", "difference")

# Figure 2 needs more than one c where a policy names but one.
_AROUND = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Trial:
    """Settings to try. `group` and `label` say which row of which table they are; a grid's points need none."""

    group: str
    label: str
    settings: MethodSettings


def ablation_trials(settings: MethodSettings, chosen: Any) -> list[Trial]:
    """The trials at equal c and those of the curves.

    c is the settings' own; of a grid it is `chosen`, what a sweep took from it, or else the middle one.
    """
    grid = swept_coefficient(settings)
    if grid:
        coefficients: list[Any] = list(grid[1].sweep.coefficients)
        c = chosen if chosen is not None else coefficients[len(coefficients) // 2]
    else:
        c = getattr(settings, "coefficient")  # noqa: B009 - not every method calls it so; the ablation's does
        coefficients = [_times(c, factor) for factor in _AROUND]
    base = changed(settings, coefficient=c)
    rows = [(label, _variant(base, changes)) for label, changes in VARIANTS.items()]
    trials = [Trial(EQUAL_C, label, variant) for label, variant in rows if variant]
    trials += [
        Trial(CURVE, name, changed(base, importance=name, coefficient=value)) for name in MAPS for value in coefficients
    ]
    return trials


def at_equal_length(trials: Sequence[Trial], points: Sequence[SweepPoint]) -> list[Trial]:
    """The variants again, each with the c that makes its ‖T‖ the full method's. Needs the points at equal c."""
    lengths = {point.label: point.target_norm for point in points if point.group == EQUAL_C and point.target_norm}
    full = lengths.get(FULL)
    if not full:
        return []
    return [
        Trial(
            EQUAL_LENGTH,
            trial.label,
            changed(
                trial.settings,
                coefficient=_times(trial.settings.model_dump()["coefficient"], full / lengths[trial.label]),
            ),
        )
        for trial in trials
        if trial.group == EQUAL_C and trial.label in lengths and trial.label != FULL
    ]


def _variant(base: MethodSettings, changes: dict[str, str]) -> MethodSettings | None:
    try:
        return changed(base, **changes)
    except ValidationError:  # RMU has no closed form and no relative c
        return None


def _times(coefficient: Any, factor: float) -> Any:
    if isinstance(coefficient, Relative):
        coefficient = coefficient.model_dump()
    if isinstance(coefficient, dict):
        return {"relative": factor * coefficient["relative"]}
    return factor * coefficient
