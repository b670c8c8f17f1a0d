"""Which settings a sweep tries: from a grid to one settings object a point. No torch here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from govern.unlearning.registry import method_named
from govern.unlearning.settings import CoefficientSweep, MethodSettings, Settings

# A method's coefficient, whatever it calls it.
COEFFICIENTS = ("coefficient", "scale")

# The slowest axis first: what points share is kept for the newest setting alone, and c costs least to change.
AXES = ("solver", "retain_weight", "direction", "importance")


def swept_coefficient(settings: Settings) -> tuple[str, CoefficientSweep] | None:
    """The field that holds a grid of coefficients, and the grid; None where the settings name one value."""
    found = ((name, getattr(settings, name, None)) for name in COEFFICIENTS)
    return next(((name, grid) for name, grid in found if isinstance(grid, CoefficientSweep)), None)


def grid_of(
    settings: MethodSettings, axes: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Sequence[Any]], tuple[MethodSettings, ...]]:
    """What is swept, by field, and every point of the grid; an axis that is empty has the settings' own value.

    Raises pydantic.ValidationError where a point is no setting of the method.
    """
    swept: dict[str, Sequence[Any]] = {name: axes[name] for name in AXES if axes.get(name)}
    if coefficient := swept_coefficient(settings):
        name, grid = coefficient
        swept[name] = grid.sweep.coefficients
    points = itertools.product(*swept.values())
    return swept, tuple(changed(settings, **dict(zip(swept, point, strict=True))) for point in points)


def changed(settings: MethodSettings, **changes: Any) -> MethodSettings:
    """The settings with some of them changed. Another solver or method takes what it knows of the rest.

    Raises pydantic.ValidationError.
    """
    given = {**settings.model_dump(), **changes}
    kind: Any = method_named(given["method"]).kind(given)
    made: MethodSettings = kind.model_validate(
        {name: value for name, value in given.items() if name in kind.model_fields}
    )
    return made
