"""What a method declares: one `METHOD` in its file, from which everything else is read. No torch here.

An organisation's own distribution declares the same, under the entry point group `govern.methods` (docs/methods.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Discriminator, Tag, TypeAdapter

from govern.models.headers import Entry
from govern.records import Cost, Origin
from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, RemovalRequest, Scope
from govern.unlearning.settings import Settings
from govern.unlearning.settings_check import MethodRefusal

if TYPE_CHECKING:
    from govern.unlearning.misdirection import Misdirection


@dataclass(frozen=True)
class Tuned:
    """What a comparison tries: `setting`, from `first` (None: from the policy's own value), each time `factor` more."""

    setting: str
    first: float | None
    factor: float


LEARNING_RATE = Tuned("learning_rate", 2e-5, 5.0)


@dataclass(frozen=True)
class BesideUnits:
    """What a method does beside its units of work: timed once by `changes`, and done `often` times a unit.

    `grows` is the setting that stays in its proportion to the units.
    """

    changes: Mapping[str, int]
    often: Callable[[Any], float]
    grows: str | None = None


@dataclass(frozen=True)
class Work:
    """What a comparison takes less of to stay within its budget: the setting that counts `unit`s, each as long as the
    other. `fixed` are settings that it changes whatever the budget."""

    unit: str
    fixed: Mapping[str, int] = field(default_factory=dict)
    beside: BesideUnits | None = None


Check = Callable[[Any, int, Mapping[str, Entry]], tuple[MethodRefusal, ...]]
Costing = Callable[[Any, Scope, int, Mapping[str, Entry]], Cost]


@dataclass(frozen=True)
class Method:
    """A removal method.

    `kinds` are its settings classes: one, or one for each value of `solver`, the default's first. Either `run` makes
    the edit, or `steer` does on a model that is opened for it. `check` says what a model of so many blocks, whose
    checkpoint holds these tensors, cannot do of the settings; `cost`, what they cost on it. `tuned` None: a comparison
    leaves the method out. `origin` is the distribution that the method comes from, None for our own.
    """

    name: str
    scope: Scope
    kinds: tuple[type[Settings], ...]
    run: Callable[[RemovalRequest[Any]], Edit] | None = None
    steer: Callable[[Misdirection, RemovalRequest[Any]], Edit] | None = None
    check: Check | None = None
    cost: Costing | None = None
    tuned: Tuned | None = None
    work: Work = Work("steps")
    origin: Origin | None = None

    @property
    def schema(self) -> Any:
        """What a policy's `removal` may hold: the settings class, or the union of the solvers'."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        tagged: list[Any] = [Annotated[kind, Tag(_solver_of(kind))] for kind in self.kinds]
        return Annotated[reduce(or_, tagged), Discriminator(lambda given: _solver_of(self.kind(given)))]

    def kind(self, given: Any) -> type[Settings]:
        """The settings class of a mapping or of settings. What is no solver's name is judged as the default's."""
        solver = given.get("solver") if isinstance(given, Mapping) else getattr(given, "solver", None)
        return next((kind for kind in self.kinds[1:] if _solver_of(kind) == solver), self.kinds[0])

    def settings(self, given: Mapping[str, Any]) -> Any:
        """Settings from plain values. Raises pydantic.ValidationError."""
        return TypeAdapter(self.schema).validate_python(given)

    def edit(self, request: RemovalRequest[Any]) -> Edit:
        """Edit the model at `request.model_path`; leave its files as they are.

        Raises RemovalError where a value is left to a sweep, the model lacks what the settings name, the loss diverges
        or memory is short; IntegrityError where `request.checkpoint` is another removal's.
        """
        with memory_advice():
            if self.steer is None:
                assert self.run is not None  # noqa: S101 - one of the two is declared
                return self.run(request)
            from govern.unlearning.misdirection import Misdirection

            return self.steer(Misdirection.open(request), request)

    def refusals(self, settings: Any, model_path: Path, layers: int) -> tuple[MethodRefusal, ...]:
        """What the model in `model_path`, of `layers` decoder blocks, cannot do of `settings`; no weight is loaded."""
        return self.check(settings, layers, stored_tensors(model_path)) if self.check else ()

    def cost_of(self, settings: Any, model_path: Path, layers: int) -> Cost | None:
        """What the method costs on that model; None where it does not say, or computes nothing."""
        return self.cost(settings, self.scope, layers, stored_tensors(model_path)) if self.cost else None


def _solver_of(kind: type[Settings]) -> str:
    solver: str = get_args(kind.model_fields["solver"].annotation)[0]
    return solver
