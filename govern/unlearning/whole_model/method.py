"""How a whole-model method is declared, and what all of them ask of a model. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from govern.models.headers import Entry
from govern.unlearning.costs import whole_model_cost
from govern.unlearning.method import LEARNING_RATE, Method, Work
from govern.unlearning.protocol import Edit, RemovalRequest, Scope
from govern.unlearning.settings_check import EXPERT, MethodRefusal, check_trained
from govern.unlearning.whole_model.settings import Objective, WholeModel

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student
    from govern.unlearning.whole_model.terms import Term, Turn

_FLOATS = {"F64", "F32", "F16", "BF16"}


def objective(
    name: str, settings: type[Objective], loss: Callable[[Student, Turn, Any], Iterator[Term]], scope: Scope = "logit"
) -> Method:
    """A method that is nothing but a loss, minimised from beginning to end."""

    def run(request: RemovalRequest[Any]) -> Edit:
        from govern.unlearning.whole_model.loop import minimise

        return minimise(loss, request)

    return trained(name, settings, run, scope)


def trained(
    name: str,
    settings: type[Objective],
    run: Callable[[RemovalRequest[Any]], Edit],
    scope: Scope = "logit",
    work: Work = Work("steps"),  # noqa: B008 - frozen
) -> Method:
    """A method that trains the model in a way of its own."""
    return Method(
        name,
        scope,
        (settings,),
        run=run,
        check=check_whole_model,
        cost=whole_model_cost,
        tuned=LEARNING_RATE,
        work=work,
    )


def check_whole_model(settings: WholeModel, layers: int, tensors: Mapping[str, Entry]) -> tuple[MethodRefusal, ...]:
    """What a model of `layers` blocks, whose checkpoint holds `tensors`, refuses; empty where all is well."""
    refusals: list[MethodRefusal] = []
    changing = settings.changing(layers)
    if changing is not None:
        for location, message in check_trained(changing, layers, tensors):
            # What the method chose by itself is nowhere in the policy, so the method is at fault there.
            refusals.append(MethodRefusal(location if settings.train else ("method",), message))
    elif settings.rank is None and any(EXPERT in f".{name}." for name in tensors):
        refusals.append(
            MethodRefusal(
                ("method",),
                "the model is a mixture of experts, whose weights the checkpoint keeps otherwise than the model does; "
                "name modules that it has once under `train`, or train an adapter (lora_rank)",
            )
        )
    strange = next((name for name, entry in tensors.items() if entry.dtype not in _FLOATS), None)
    if strange is not None:
        refusals.append(
            MethodRefusal(
                ("method",),
                f"the checkpoint stores {strange!r} as {tensors[strange].dtype}, and training needs floating point: "
                "start from the model before it was quantised",
            )
        )
    return tuple(refusals)
