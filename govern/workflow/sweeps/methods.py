"""Which settings a comparison of methods tries: for each method a small grid, as much work as fits into a budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from govern.digests import canonical_json
from govern.errors import GovernError, PolicyError, UsageError
from govern.policy import LoadedPolicy
from govern.progress import Progress, silent
from govern.unlearning.protocol import Request
from govern.unlearning.registry import METHODS
from govern.unlearning.settings import MethodSettings, Relative, Steering
from govern.unlearning.sweeping import swept_coefficient
from govern.unlearning.whole_model.settings import DepnSettings, Measured, QuarkSettings, RkluSettings
from govern.workflow.files import TRIALS
from govern.workflow.sweeps.ablation import Trial
from govern.workspace import RunFolder

# What is tuned, its first value, and the factor to the next: the same for all methods that learn.
_LEARNING_RATE: tuple[str, float, float] = ("learning_rate", 2e-5, 5.0)
_TUNED: dict[str, tuple[str, float, float]] = {"ssd": ("threshold", 10.0, 0.5), "depn": ("neurons", 200, 4.0)}


@dataclass(frozen=True)
class Comparison:
    """Which methods are compared, how many points each has, and how long one may take (seconds).

    A method that cannot be made from the policy is refused, and where `every` method is asked for it is a row that says
    why.
    """

    methods: tuple[str, ...]
    points: int
    budget: float
    every: bool = False


@dataclass(frozen=True)
class Unmade:
    """A method that cannot be made from the policy, and why: a row of the comparison like one that broke off."""

    group: str
    error: str


def methods_named(words: str) -> tuple[str, ...]:
    """The methods of a list such as "npo,ssd", or all. Raises UsageError."""
    known = tuple(name for name in METHODS if name != "external")
    named = known if words == "all" else tuple(dict.fromkeys(word.strip() for word in words.split(",")))
    for name in named:
        if name not in known:
            raise UsageError(f"there is no method {name!r} to compare", where="--methods", hint=", ".join(known))
    return named


def method_trials(
    folder: RunFolder,
    loaded: LoadedPolicy,
    request: Request[Any],
    compared: Comparison | None,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Trial | Unmade]:
    """The trials, which are kept: a resumed comparison goes on with the steps that were timed once.

    Raises PolicyError where a method that was named cannot be made from the policy: it has no block to steer.
    """
    if folder.path(TRIALS).is_file():
        return [
            Unmade(each["method"], each["error"])
            if "error" in each
            else Trial(each["method"], each["label"], _settings(each["settings"]))
            for each in json.loads(folder.read(TRIALS))
        ]
    if compared is None:
        raise UsageError(
            "this comparison was begun by an earlier version, which did not keep what it was to compare",
            where=str(folder.root),
            hint="Compare anew: govern compare POLICY --methods all",
        )
    trials: list[Trial | Unmade] = []
    for done, method in enumerate(compared.methods, start=1):
        try:
            base = base_settings(loaded, method)
        except PolicyError as error:
            if not compared.every:
                raise
            trials.append(Unmade(method, error.message))
            continue
        name, first, factor = _tuned(method, base)
        work = affordable(base, request, compared.budget, clock)
        for place in range(compared.points):
            value: Any = first * factor**place
            if name == "neurons":
                value = int(value)
            label = f"{name} {value:g}"
            if isinstance(getattr(base, name), Relative):
                value = {"relative": value}
            trials.append(Trial(method, label, _settings({**base.model_dump(), **work, name: value})))
        progress("time methods", done, len(compared.methods))
    kept = [
        {"method": each.group, "error": each.error}
        if isinstance(each, Unmade)
        else {"method": each.group, "label": each.label, "settings": each.settings.model_dump(mode="json")}
        for each in trials
    ]
    folder.write(TRIALS, canonical_json(kept))
    return trials


def base_settings(loaded: LoadedPolicy, method: str) -> MethodSettings:
    """A method's settings as this policy's: its own defaults, and of the policy's removal what it knows."""
    removal = loaded.policy.removal
    if removal.method == method and isinstance(removal, MethodSettings):
        given: dict[str, Any] = removal.model_dump()
        found = swept_coefficient(removal)
        return _settings({**given, found[0]: found[1].sweep.coefficients[0]} if found else given)
    shared = {"dtype", "batch_size", "seed"}
    if method in {"srmu", "rmu", "adaptive_rmu"}:
        if not isinstance(removal, Steering):
            raise PolicyError(
                f"{method} steers a block, and this policy names none",
                where=loaded.where("removal"),
                hint="Leave it out of --methods, or compare from a policy whose method is srmu, rmu or adaptive_rmu.",
            )
        shared |= {"layer", "train", "retain_weight", "mask", "steps", "learning_rate", "weight_decay"}
        coefficient = getattr(removal, "coefficient", None)
        if method == "rmu" and isinstance(coefficient, float):
            shared |= {"coefficient"}
    given = {name: value for name, value in removal.model_dump().items() if name in shared}
    try:
        return _settings({**given, "method": method})
    except ValidationError as error:
        missing = error.errors(include_url=False)[0]["loc"][-1]
        raise PolicyError(
            f"{method} needs `{missing}`, which this policy's removal does not give it",
            where=loaded.where("removal"),
            hint="Leave it out of --methods, or write the removal with an absolute coefficient.",
        ) from None


def affordable(
    base: MethodSettings, request: Request[Any], budget: float, clock: Callable[[], float]
) -> dict[str, int]:
    """As much work as fits into the budget (seconds), told from runs of one and of three units; at most that of `base`.

    A unit is a step, a batch for `ssd`, and for `depn`, which goes through the model for each block, a point on the way
    of one batch. A closed form takes what it takes. What two methods do beside their steps is timed by a run of its own
    and counted with each step: `quark` draws samples every so many of them, and `rklu` strengthens first, by
    `strengthening_steps` that stay in their proportion to `steps`. A method that breaks off while it is timed gets the
    units at which it did: it breaks off again as a point, where the error is kept, and the other methods go on.
    """
    fixed: dict[str, int] = {}
    name = "batches" if isinstance(base, Measured) else "steps"
    if isinstance(base, DepnSettings):
        fixed, name = {"batches": 1}, "points"
    if name not in type(base).model_fields:
        return {}
    most = getattr(base, name)
    runs: list[dict[str, int]] = [{name: 1}, {name: 3}]
    often = 0.0
    if isinstance(base, RkluSettings):
        fixed, often = {"strengthening_steps": 1}, base.strengthening_steps / base.steps
        runs.append({name: 3, "strengthening_steps": 3})
    elif isinstance(base, QuarkSettings):
        often = 1 / base.explore_every
        runs.append({name: 3, "explore_every": 1})
    times = []
    for work in runs:
        began = clock()
        settings = _settings({**base.model_dump(), **fixed, **work})
        edit = METHODS[settings.method].load()  # type: ignore[attr-defined]
        try:
            edit(replace(request, settings=settings, checkpoint=None, progress=silent))
        except GovernError:
            return {**fixed, name: min(most, work[name])}
        times.append(clock() - began)
    beside = max((times[-1] - times[1]) / 2, 0.0)  # seconds for one of what is done beside steps, where anything is
    each = max((times[1] - times[0]) / 2 + often * beside, 1e-6)
    # The run of one holds a unit already.
    units = max(1, min(most, 1 + int((budget - times[0]) / each)))
    if isinstance(base, RkluSettings):
        fixed = {"strengthening_steps": max(1, round(often * units))}
    return {**fixed, name: units}


def _tuned(method: str, base: MethodSettings) -> tuple[str, float, float]:
    if method in _TUNED:
        return _TUNED[method]
    if isinstance(base, Steering):
        name = "scale" if method == "adaptive_rmu" else "coefficient"
        own = getattr(base, name)
        return name, own.relative if isinstance(own, Relative) else own, 2.0
    return _LEARNING_RATE


def _settings(given: dict[str, Any]) -> MethodSettings:
    kind: Any = METHODS[given["method"]].settings
    settings: MethodSettings = TypeAdapter(kind).validate_python(given)
    return settings
