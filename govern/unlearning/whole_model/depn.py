"""DEPN (Wu et al. 2023, arXiv 2310.20138): find the neurons that private text depends on, and erase them.

    Att(w) = (a/m) Σ_{k=1..m} ∂P(y; (k/m) a)/∂w        and the activations of the top neurons become zero

Made for BERT, whose masked words each have one position and one activation vector. Adapted to decoders: a neuron is an
input of a block's `mlp.down_proj`, a its activation at every position, scaled at all of them at once and in one block
at a time; P is the probability of each next token, summed over the forget tokens. Erasing is setting the neuron's
column of `down_proj` to zero, which is the same as an activation of zero and needs no change of code.

Read: the paper's abstract. Its aggregator counts in how many texts a neuron stands out; here attributions are summed
over all forget tokens, one rule without thresholds, and the greatest are erased, whatever block they are in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from govern.errors import RemovalError
from govern.models.headers import Entry
from govern.records import Cost
from govern.unlearning.costs import whole_model_cost
from govern.unlearning.method import Method, Tuned, Work
from govern.unlearning.protocol import Edit, RemovalRequest, Scope
from govern.unlearning.settings import Trained
from govern.unlearning.settings_check import MethodRefusal
from govern.unlearning.whole_model.method import check_whole_model
from govern.unlearning.whole_model.settings import Measured, Passes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from govern.unlearning.batches import Batch
    from govern.unlearning.whole_model.loop import Session
    from govern.unlearning.whole_model.student import Student


class DepnSettings(Measured):
    """Detecting and erasing the neurons that the forget text depends on."""

    kept: ClassVar[int] = 0
    modules: ClassVar[tuple[str, ...]] = ("mlp.down_proj",)

    method: Literal["depn"] = Field(description="The removal method.")
    train: Trained | None = Field(
        default=None,
        description="Where neurons are: one module whose inputs they are, and blocks; else mlp.down_proj of all.",
    )
    batches: int = Field(default=8, ge=1, description="Batches of forget text of each topic, at most.")
    neurons: int = Field(default=200, ge=1, description="How many neurons are erased.")
    points: int = Field(default=20, ge=1, description="m: points on the way from no activation to the whole one.")

    @property
    def passes(self) -> Passes:
        """For each block and batch, every point once."""
        return Passes(self.points, self.points)


def depn(request: RemovalRequest[DepnSettings]) -> Edit:
    """Measure every neuron on forget text and zero the columns of those that it depends on most. Raises as `ssd` does.

    Also where the named module is no plain linear map, or fewer neurons are left than are to be erased.
    """
    from govern.unlearning.whole_model.loop import Session

    settings = request.settings
    session = Session.open(request)
    attributions = measured(session, settings)
    weights = session.student.weights()
    for name, neurons in top_neurons(attributions, settings.neurons).items():
        weights[name] = weights[name].index_fill(1, neurons, 0.0)
    total = sum(map(len, attributions.values()))
    return session.edit(figures={"neurons_erased": settings.neurons, "neurons_measured": total}, weights=weights)


def measured(session: Session, settings: DepnSettings) -> dict[str, Tensor]:
    """The attribution of every neuron, [inputs] for each weight, by checkpoint name."""
    import torch

    from govern.unlearning.whole_model.measuring import accumulate

    student = session.student
    student.plain.requires_grad_(False)  # the graph begins at the neurons, not at the weights
    modules = _linear_maps(student)
    sums = {name: torch.zeros(module.in_features, device=module.weight.device) for name, module in modules.items()}
    work = [
        topic.forget.batch(topic.forget.visit(visit))
        for topic in session.topics
        for visit in range(min(settings.batches, len(topic.forget)))
    ]

    def add(batch: Batch) -> None:
        whole = _inputs(student, modules, batch)
        for name, module in modules.items():
            sums[name] += attribution(student, module, whole[name], batch, settings.points)

    accumulate(session, sums, work, add, stage="attribution")
    return {student.edited[f"{name}.weight"].name: values for name, values in sums.items()}


def attribution(student: Student, module: nn.Linear, whole: Tensor, batch: Batch, points: int) -> Tensor:
    """(a/m) Σ_k ∂P/∂w at (k/m) a, summed over positions and documents, [neurons]; `whole` is a, [..., n],
    whatever comes before its features: some modules see all tokens of a batch in one row."""
    import torch

    gradients = torch.zeros_like(whole)
    for point in range(1, points + 1):
        scaled = (whole * (point / points)).requires_grad_()
        with _input(module, scaled):
            said = student.read(batch)
        (-said.losses()).exp().sum().backward()
        assert scaled.grad is not None  # noqa: S101 - every block's output feeds the logits
        gradients += scaled.grad
    return (whole * gradients / points).flatten(0, -2).sum(dim=0).float()


def top_neurons(attributions: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The `count` neurons of the greatest attribution in all weights together, by weight. Raises RemovalError."""
    import torch

    together = torch.cat(list(attributions.values()))
    if count >= len(together):
        raise RemovalError(
            f"{count} neurons would be erased, and there are {len(together)}",
            where="removal.neurons",
            hint="Erase fewer, or look for them in more blocks.",
        )
    order = together.sort(descending=True, stable=True).indices[:count]
    chosen, begin = {}, 0
    for name, values in attributions.items():
        inside = order[(order >= begin) & (order < begin + len(values))] - begin
        if len(inside):
            chosen[name] = inside
        begin += len(values)
    return chosen


def _linear_maps(student: Student) -> dict[str, nn.Linear]:
    from torch import nn

    modules = {}
    for name in student.trained:
        if name.endswith(".weight"):
            module = student.plain.get_submodule(name.removesuffix(".weight"))
            if not isinstance(module, nn.Linear):
                raise RemovalError(
                    f"{name!r} is not the weight of a plain linear map, so its inputs are no neurons",
                    where="removal.train.modules",
                    hint="Name the last linear map of the MLP, such as mlp.down_proj or mlp.dense_4h_to_h.",
                )
            modules[name.removesuffix(".weight")] = module
    return modules


def _inputs(student: Student, modules: Mapping[str, nn.Linear], batch: Batch) -> dict[str, Tensor]:
    """What each module receives for a batch, [..., inputs]."""
    import torch

    found: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            found[name] = arguments[0].detach()

        return hook

    handles = [module.register_forward_pre_hook(record(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            student.read(batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _input(module: nn.Module, given: Tensor) -> Iterator[None]:
    """Give the module this input, whatever comes to it."""
    handle = module.register_forward_pre_hook(lambda _module, _arguments: (given,))
    try:
        yield
    finally:
        handle.remove()


def _check(settings: DepnSettings, layers: int, tensors: Mapping[str, Entry]) -> tuple[MethodRefusal, ...]:
    refusals = check_whole_model(settings, layers, tensors)
    if settings.train is not None and len(settings.train.modules) > 1:
        refusals += (MethodRefusal(("train", "modules", 1), "neurons are the inputs of one module a block"),)
    return refusals


def _cost(settings: DepnSettings, scope: Scope, layers: int, tensors: Mapping[str, Entry]) -> Cost:
    changing = settings.changing(layers)
    return whole_model_cost(settings, scope, layers, tensors, times=len(changing.layers) if changing else 1)


METHOD = Method(
    "depn",
    "neuron",
    (DepnSettings,),
    run=depn,
    check=_check,
    cost=_cost,
    tuned=Tuned("neurons", 200, 4.0),
    work=Work("points", {"batches": 1}),
)
