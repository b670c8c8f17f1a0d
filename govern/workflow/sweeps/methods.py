"""Which settings a comparison of methods tries: for each method a small grid, as much work as fits into a budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from govern.digests import canonical_json
from govern.errors import GovernError, PolicyError, UsageError
from govern.policy import LoadedPolicy
from govern.progress import Progress, silent
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.registry import METHODS
from govern.unlearning.settings import Descent, MethodSettings, Relative, Steering
from govern.unlearning.sweeping import swept_coefficient
from govern.workflow.files import TRIALS
from govern.workflow.sweeps.ablation import Trial
from govern.workspace import RunFolder


@dataclass(frozen=True)
class MethodsCompared:
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
    known = tuple(name for name, method in METHODS.items() if method.tuned)
    named = known if words == "all" else tuple(dict.fromkeys(word.strip() for word in words.split(",")))
    for name in named:
        if name not in known:
            raise UsageError(f"there is no method {name!r} to compare", where="--methods", hint=", ".join(known))
    return named


def method_trials(
    folder: RunFolder,
    loaded: LoadedPolicy,
    request: RemovalRequest[Any],
    compared: MethodsCompared | None,
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
        work = affordable(base, request, compared.budget, clock)
        for name, value in _tried(base, compared.points):
            label = f"{name} {value.relative if isinstance(value, Relative) else value:g}"
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


def base_settings(loaded: LoadedPolicy, name: str) -> MethodSettings:
    """A method's settings as this policy's: its own defaults, and of the policy's removal what it knows."""
    removal, method = loaded.policy.removal, METHODS[name]
    if removal.method == name and isinstance(removal, MethodSettings):
        given: dict[str, Any] = removal.model_dump()
        found = swept_coefficient(removal)
        return _settings({**given, found[0]: found[1].sweep.coefficients[0]} if found else given)
    shared = {"dtype", "batch_size", "seed"}
    if issubclass(method.kinds[0], Steering):
        if not isinstance(removal, Steering):
            raise PolicyError(
                f"{name} steers a block, and this policy names none",
                where=loaded.where("removal"),
                hint="Leave it out of --methods, or compare from a policy whose method is srmu, rmu or adaptive_rmu.",
            )
        shared |= {*Steering.model_fields, *Descent.model_fields}
        if isinstance(getattr(removal, "coefficient", None), float):
            shared |= {"coefficient"}
    known = {field for kind in method.kinds for field in kind.model_fields}
    given = {field: value for field, value in removal.model_dump().items() if field in shared & known}
    try:
        return _settings({**given, "method": name})
    except ValidationError as error:
        missing = error.errors(include_url=False)[0]["loc"][-1]
        raise PolicyError(
            f"{name} needs `{missing}`, which this policy's removal does not give it",
            where=loaded.where("removal"),
            hint="Leave it out of --methods, or write the removal with an absolute coefficient.",
        ) from None


def affordable(
    base: MethodSettings, request: RemovalRequest[Any], budget: float, clock: Callable[[], float]
) -> dict[str, int]:
    """As much work as fits into the budget (seconds), told from runs of one and of three units; at most that of `base`.

    What a unit is, and what a method does beside its units, its declaration says (`Work`); what is done beside them is
    timed by a run of its own. A closed form takes what it takes. A method that breaks off while it is timed gets the
    units at which it did: it breaks off again as a point, where the error is kept, and the other methods go on.
    """
    method = METHODS[base.method]
    work, beside = method.work, method.work.beside
    if work.unit not in type(base).model_fields:
        return {}
    most = getattr(base, work.unit)
    runs: list[dict[str, int]] = [{work.unit: 1}, {work.unit: 3}]
    if beside:
        runs.append({work.unit: 3, **beside.changes})
    times = []
    for run in runs:
        began = clock()
        settings = _settings({**base.model_dump(), **work.fixed, **run})
        try:
            method.edit(replace(request, settings=settings, checkpoint=None, progress=silent))
        except GovernError:
            return {**work.fixed, work.unit: min(most, run[work.unit])}
        times.append(clock() - began)
    often = beside.often(base) if beside else 0.0
    aside = max((times[-1] - times[1]) / 2, 0.0)  # seconds for one of what is done beside units, where anything is
    each = max((times[1] - times[0]) / 2 + often * aside, 1e-6)
    # The run of one holds a unit already.
    units = max(1, min(most, 1 + int((budget - times[0]) / each)))
    grown = {beside.grows: max(1, round(often * units))} if beside and beside.grows else {}
    return {**work.fixed, **grown, work.unit: units}


def _tried(base: MethodSettings, points: int) -> Iterator[tuple[str, Any]]:
    """The setting that a comparison tunes, and each of the values that it tries, as many as `points`."""
    tuned = METHODS[base.method].tuned
    assert tuned is not None  # noqa: S101 - the others are no methods to compare
    own = getattr(base, tuned.setting)
    relative = isinstance(own, Relative)
    first = tuned.first or (own.relative if relative else own)
    for place in range(points):
        value = type(first)(first * tuned.factor**place)
        yield tuned.setting, Relative(relative=value) if relative else value


def _settings(given: Mapping[str, Any]) -> MethodSettings:
    settings: MethodSettings = METHODS[given["method"]].settings(given)
    return settings
