"""The closed-form solver: SRMU's objective is quadratic in the last linear map of a block, so one solve minimises it.

The derivation is in docs/closed_form.md. Blocks are solved in order, each with its own T, map and coefficient, the
later ones on the model as edited so far: greedy, not the joint minimiser of eq. 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from govern.errors import RemovalError
from govern.progress import Progress
from govern.records import CurvePoint
from govern.unlearning.batches import Deck, generator
from govern.unlearning.importance import Average
from govern.unlearning.misdirection import Aim, Misdirection, Survey, TopicText
from govern.unlearning.protocol import Edit
from govern.unlearning.solvers.linearity import linear_scale
from govern.unlearning.solvers.state import State, load_state, save_state
from govern.unlearning.srmu_settings import SrmuClosedFormSettings

# T of a topic, from what the frozen model makes of its text.
Aiming = Callable[[TopicText, Survey], Aim]

CHECKPOINT = "closed_form.safetensors"

# The solution satisfies its equations to this, relative to their right-hand side, or the statistics are refused: with
# fewer tokens than features they have no unique solution without a ridge, and rounding would choose one.
_TOLERANCE = 1e-6


class Moments:
    """Float64 sums over tokens of an input a ([n]) and an output y ([d]); adding two gives those of both texts.

    `inputs` is Σ a aᵀ, `cross` Σ y aᵀ, `input_sum` Σ a, `output_sum` Σ y, `squares` Σ ‖y‖².
    """

    def __init__(self, inputs: int, outputs: int, device: torch.device | str = "cpu") -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.tokens = 0
        self.inputs = zeros(inputs, inputs)
        self.cross = zeros(outputs, inputs)
        self.input_sum = zeros(inputs)
        self.output_sum = zeros(outputs)
        self.squares = zeros()

    def add(self, a: Tensor, y: Tensor) -> None:
        """Take in tokens: `a` is [tokens, n], `y` [tokens, d]."""
        a, y = a.double(), y.double()
        self.tokens += len(a)
        self.inputs.addmm_(a.T, a)
        self.cross.addmm_(y.T, a)
        self.input_sum += a.sum(0)
        self.output_sum += y.sum(0)
        self.squares += y.square().sum()

    def __iadd__(self, other: Moments) -> Moments:
        self.tokens += other.tokens
        for name in ("inputs", "cross", "input_sum", "output_sum", "squares"):
            getattr(self, name).add_(getattr(other, name))
        return self

    def loss(self, change: Tensor, target: Tensor | None = None) -> float:
        """(1 / N d) Σ ‖y + D a − T‖² for a change D ([d, n]) of the linear map and a target T ([d], zero if None)."""
        quadratic = ((change @ self.inputs) * change).sum() + 2 * (change * self.cross).sum()
        total = self.squares + quadratic
        if target is not None:
            aimed = self.tokens * target.square().sum() - 2 * target @ self.output_sum
            total += aimed - 2 * target @ (change @ self.input_sum)
        return float(total) / (self.tokens * len(change))


@dataclass(frozen=True)
class Statistics:
    """One topic's moments at one block, with y = h on forget text and y = h − h⁰ on retain text, and its target."""

    forget: Moments
    retain: Moments
    target: Tensor

    def matrix(self, retain_weight: float) -> Tensor:
        """C_f + α C_r, [n, n]."""
        weighted = self.retain.inputs * (retain_weight / self.retain.tokens)
        return weighted.add_(self.forget.inputs, alpha=1 / self.forget.tokens)

    def pull(self, retain_weight: float) -> Tensor:
        """E_f[(T − h) aᵀ] + α E_r[(h⁰ − h) aᵀ], [d, n]; the second term is what undoes drift in later blocks."""
        towards = torch.outer(self.target, self.forget.input_sum) - self.forget.cross
        return towards / self.forget.tokens - (retain_weight / self.retain.tokens) * self.retain.cross


def minimiser(statistics: list[Statistics], *, retain_weight: float, ridge: float) -> Tensor:
    """D, [d, n], that minimises Σ over topics of L_forget + α L_retain, plus ρ·tr(C_r)/n·‖D‖²/d.

    Raises RemovalError where the statistics do not determine it.
    """
    matrix = statistics[0].matrix(retain_weight)
    for each in statistics[1:]:
        matrix += each.matrix(retain_weight)
    pull = sum((each.pull(retain_weight) for each in statistics[1:]), statistics[0].pull(retain_weight))
    spread = sum(float(each.retain.inputs.trace()) / each.retain.tokens for each in statistics)
    matrix.diagonal().add_(ridge * spread / len(matrix))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    change = torch.cholesky_solve(pull.T, factor).T if not failed else torch.full_like(pull, torch.nan)
    residual = (change @ matrix - pull).norm()
    if not residual <= _TOLERANCE * pull.norm():
        tokens = sum(each.forget.tokens + each.retain.tokens for each in statistics)
        raise RemovalError(
            f"{tokens} tokens do not determine a change of {len(matrix)} inputs",
            where="removal.ridge",
            hint=f"Give more retain text, or raise ridge (it is {ridge:g}).",
        )
    return change


class _Block:
    """One trained block on the model as edited so far: the trained weight's input a, and the block's output h."""

    def __init__(self, setup: Misdirection, layer: int, module: str) -> None:
        self.setup = setup
        self.layer = layer
        self.blocks = layer - setup.first + 1
        self.name = f"{layer}.{module}.weight"
        linear = setup.window.blocks[self.blocks - 1].get_submodule(module)
        if not isinstance(linear, nn.Linear):
            raise RemovalError(
                f"{module!r} is a {type(linear).__name__}, not one linear map",
                where="removal.train.modules",
                hint="The closed form solves for one linear map a block, such as mlp.down_proj.",
            )
        if linear.out_features != setup.window.width:
            raise RemovalError(
                f"{module!r} does not write into the residual stream: it has {linear.out_features} outputs, not "
                f"{setup.window.width}",
                where="removal.train.modules",
                hint="The closed form solves for the last linear map of a block, such as mlp.down_proj.",
            )
        self.linear = linear

    def linear_scale(self, deck: Deck, random: torch.Generator) -> float:
        """The s by which a change of the weight reaches h. Raises RemovalError where h is not linear in it."""
        local = f"{self.blocks - 1}.{self.name.partition('.')[2]}"

        def respond(weight: Tensor | None) -> tuple[Tensor, Tensor]:
            return self.output(deck, 0, None if weight is None else {local: weight})

        return linear_scale(respond, self.setup.trained.live[self.name].detach(), random=random)

    @torch.no_grad()
    def output(self, deck: Deck, number: int, weights: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """a, [tokens, n], and h, [tokens, d], at the tokens of a batch that count."""
        seen: list[Tensor] = []
        handle = self.linear.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        try:
            hidden = self.setup.window.replay(self.setup.frozen.entry(deck, number), weights, blocks=self.blocks)
        finally:
            handle.remove()
        counted = deck.batch(number).counted
        return seen[0][counted], hidden[counted]

    @torch.no_grad()
    def original(self, deck: Deck, number: int) -> Tensor:
        """h⁰, [tokens, d], at the tokens of a batch that count."""
        frozen = self.setup.frozen
        hidden = self.setup.window.replay(frozen.entry(deck, number), frozen.weights, blocks=self.blocks)
        return hidden[deck.batch(number).counted]

    def measure(
        self, topic: TopicText, aiming: Aiming, settings: SrmuClosedFormSettings, progress: Progress
    ) -> tuple[Statistics, Aim]:
        """One pass over a topic's text: its moments, and the target that the frozen model's averages give."""
        outputs, inputs = self.linear.weight.shape
        total = len(topic.forget) + len(topic.retain)
        sums: list[tuple[Moments, Average]] = []
        for role, deck in (("forget", topic.forget), ("retain", topic.retain)):
            moments, average = Moments(inputs, outputs, deck.device), Average(settings.statistic)
            for number in range(len(deck)):
                a, hidden = self.output(deck, number)
                # Nothing before the first trained block has changed, so its output is still the original one.
                original = self.original(deck, number) if self.blocks > 1 else hidden
                moments.add(a, hidden if role == "forget" else hidden.double() - original.double())
                average.add(original)
                progress(
                    f"measure {topic.name} block {self.layer}", number + 1 + (total - len(deck)) * bool(sums), total
                )
            sums.append((moments, average))
        (forget, v_f), (retain, v_r) = sums
        aim = aiming(topic, Survey(v_f.features, v_r.features, v_f.norm))
        return Statistics(forget, retain, aim.target.double()), aim


def solve(
    setup: Misdirection,
    aiming: Aiming,
    settings: SrmuClosedFormSettings,
    *,
    checkpoint: Path | None,
    progress: Progress,
) -> Edit:
    """Solve the trained blocks in order, one pass over all text a block; the state is saved after each block.

    The curve holds, for each block and topic, the losses at the solution before it is rounded to the model's dtype.
    Raises RemovalError where a block is not linear in the trained weight, or the text does not determine the change.
    """
    (module,) = settings.train.modules
    curve, figures = _resume(checkpoint, setup)
    layers = sorted(settings.train.layers)
    for done, layer in list(enumerate(layers))[len(curve) // len(setup.topics) :]:
        name = f"{layer}.{module}.weight"
        block = _Block(setup, layer, module)
        scale = block.linear_scale(setup.topics[0].retain, generator(f"{settings.seed}/probe/{layer}"))
        statistics = []
        for topic in setup.topics:
            measured, aim = block.measure(topic, aiming, settings, progress)
            statistics.append(measured)
            figures |= aim.figures(topic.name) | aim.figures(f"{topic.name}.layer_{layer}")
        change = minimiser(statistics, retain_weight=settings.retain_weight, ridge=settings.ridge)
        setup.trained.masters[name].add_(change / scale)
        setup.trained.write()
        figures[f"layer_{layer}.linear_scale"] = scale
        for topic, each in zip(setup.topics, statistics, strict=True):
            forget, retain = each.forget.loss(change, each.target), each.retain.loss(change)
            loss = forget + settings.retain_weight * retain
            curve.append(
                CurvePoint(
                    step=done,
                    topic=topic.name,
                    forget_loss=forget,
                    retain_loss=retain,
                    loss=loss,
                    gradient_norm=None,
                )
            )
            progress("unlearn", done + 1, len(layers), loss=loss, forget=forget, retain=retain)
        if checkpoint is not None:
            _save(checkpoint, setup, curve, figures)
    for topic in setup.topics:
        figures[f"{topic.name}.first_token_drift"] = setup.first_token_drift(topic)
        figures[f"{topic.name}.forget_tokens"] = topic.forget.counted(range(len(topic.forget)))
        figures[f"{topic.name}.retain_tokens"] = topic.retain.counted(range(len(topic.retain)))
    tensors = setup.trained.tensors(f"{layer}.{module}.weight" for layer in layers)
    return Edit(tensors, tuple(curve), figures)


def _save(folder: Path, setup: Misdirection, curve: list[CurvePoint], figures: dict[str, float]) -> None:
    values = {"curve": [point.to_json() for point in curve], "figures": figures}
    save_state(folder / CHECKPOINT, State(len(curve), setup.trained.masters, values), fingerprint=setup.fingerprint)


def _resume(folder: Path | None, setup: Misdirection) -> tuple[list[CurvePoint], dict[str, float]]:
    state = load_state(folder / CHECKPOINT, fingerprint=setup.fingerprint) if folder is not None else None
    if state is None:
        return [], {}
    for name, master in setup.trained.masters.items():
        master.copy_(state.tensors[name])
    setup.trained.write()
    return [CurvePoint.model_validate(point) for point in state.values["curve"]], dict(state.values["figures"])
