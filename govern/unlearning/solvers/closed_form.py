"""The closed-form solver: SRMU's objective is quadratic in the last linear map of a block, so one solve minimises it.

The derivation is in docs/closed_form.md. Blocks are solved in order, each with its own T, map and coefficient, the
later ones on the model as edited so far: greedy, not the joint minimiser of eq. 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from govern.errors import RemovalError
from govern.progress import Progress
from govern.records import CurvePoint
from govern.unlearning.batches import Deck, generator
from govern.unlearning.importance import Average, Statistic
from govern.unlearning.misdirection import Aim, Misdirection, Survey, TopicText
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.settings import Trained
from govern.unlearning.solvers.linearity import linear_scale
from govern.unlearning.solvers.state import State, load_state, save_state
from govern.unlearning.workers import Workers


class Quadratic(Protocol):
    """The settings that the closed form reads."""

    @property
    def train(self) -> Trained:
        """The blocks and the module that are solved for."""

    @property
    def seed(self) -> int:
        """What orders the text."""

    @property
    def statistic(self) -> Statistic:
        """The statistic of the importance map."""

    @property
    def retain_weight(self) -> float:
        """α of eq. 5."""

    @property
    def ridge(self) -> float:
        """ρ, in units of the mean eigenvalue of C_r."""


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
        # Float64 for bfloat16 inputs as well: a ridge of 1e-4 is 1e-8 of the trace at 14,336 inputs, and float32 sums
        # round by more, so that the matrix would have no Cholesky factor.
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

    def join(self, workers: Workers) -> None:
        """Take in what the other workers summed up."""
        tokens = torch.tensor(self.tokens, device=self.inputs.device)
        workers.add(tokens, self.inputs, self.cross, self.input_sum, self.output_sum, self.squares)
        self.tokens = int(tokens)

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
    """One topic's moments at one block, with y = h on forget text and y = h − h⁰ on retain text."""

    forget: Moments
    retain: Moments

    def matrix(self, retain_weight: float) -> Tensor:
        """C_f + α C_r, [n, n]."""
        weighted = self.retain.inputs * (retain_weight / self.retain.tokens)
        return weighted.add_(self.forget.inputs, alpha=1 / self.forget.tokens)

    def pull(self, retain_weight: float) -> Tensor:
        """E_f[−h aᵀ] + α E_r[(h⁰ − h) aᵀ], [d, n]: what T = 0 asks for; the second term undoes drift of h."""
        return self.forget.cross / -self.forget.tokens - (retain_weight / self.retain.tokens) * self.retain.cross

    def push(self) -> Tensor:
        """E_f[a], [n]: T enters the pull as T E_f[a]ᵀ."""
        return self.forget.input_sum / self.forget.tokens


class Equations:
    """One block's normal equations, factored once: D = Σ_t T_t ⊗ v_t + D₀ for any targets T_t, one a topic.

    v_t = M⁻¹ E_f,t[a] and D₀ = pull · M⁻¹ with M = C_f + α C_r + ρ·tr(C_r)/n·I, sums over topics. So another
    coefficient, map or direction costs an outer product, and its losses a few products of vectors.
    """

    def __init__(self, statistics: Sequence[Statistics], *, retain_weight: float, ridge: float) -> None:
        """Raises RemovalError where the statistics do not determine D."""
        matrix = statistics[0].matrix(retain_weight)
        for each in statistics[1:]:
            matrix += each.matrix(retain_weight)
        pull = sum((each.pull(retain_weight) for each in statistics[1:]), statistics[0].pull(retain_weight))
        spread = sum(float(each.retain.inputs.trace()) / each.retain.tokens for each in statistics)
        matrix.diagonal().add_(ridge * spread / len(matrix))
        pushes = torch.stack([each.push() for each in statistics])
        # One Cholesky factor for each α: at the sizes of an MLP it costs a twentieth of the generalised
        # eigendecomposition that would serve all α, which then needs a product of the same size for each.
        factor, failed = torch.linalg.cholesky_ex(matrix)
        wanted = torch.cat([pull, pushes])
        solved = torch.cholesky_solve(wanted.T, factor).T if not failed else torch.full_like(wanted, torch.nan)
        for part in (slice(len(pull)), slice(len(pull), None)):
            residual = (solved[part] @ matrix - wanted[part]).norm()
            if not residual <= _TOLERANCE * wanted[part].norm():
                tokens = sum(each.forget.tokens + each.retain.tokens for each in statistics)
                raise RemovalError(
                    f"{tokens} tokens do not determine a change of {len(matrix)} inputs",
                    where="removal.ridge",
                    hint=f"Give more retain text, or raise ridge (it is {ridge:g}).",
                )
        self._untargeted, self._pushed = solved[: len(pull)], solved[len(pull) :]
        self._forget = [_AffineLoss(each.forget, self._untargeted, self._pushed) for each in statistics]
        self._retain = [_AffineLoss(each.retain, self._untargeted, self._pushed) for each in statistics]

    def minimiser(self, targets: Sequence[Tensor]) -> Tensor:
        """D, [d, n], that minimises Σ over topics of L_forget + α L_retain, plus ρ·tr(C_r)/n·‖D‖²/d."""
        return torch.stack(list(targets), dim=1) @ self._pushed + self._untargeted

    def losses(self, targets: Sequence[Tensor]) -> list[tuple[float, float]]:
        """L_forget and L_retain of each topic at the minimiser for these targets."""
        stacked = torch.stack(list(targets), dim=1)
        return [
            (forget.at(stacked, target), retain.at(stacked, None))
            for forget, retain, target in zip(self._forget, self._retain, targets, strict=True)
        ]


class _AffineLoss:
    """`Moments.loss` at D = U V + D₀, with all that does not depend on U ([d, topics]) summed up beforehand."""

    def __init__(self, moments: Moments, untargeted: Tensor, pushed: Tensor) -> None:
        spread = untargeted @ moments.inputs
        self._moments = moments
        self._outer = pushed @ moments.inputs @ pushed.T
        self._inner = (spread + moments.cross) @ pushed.T
        self._constant = moments.squares + (spread * untargeted).sum() + 2 * (untargeted * moments.cross).sum()
        self._input = pushed @ moments.input_sum
        self._offset = untargeted @ moments.input_sum

    def at(self, targets: Tensor, target: Tensor | None) -> float:
        """(1 / N d) Σ ‖y + D a − T‖² with U = `targets` and T = `target` (zero if None)."""
        moments = self._moments
        total = self._constant + ((targets.T @ targets) * self._outer).sum() + 2 * (targets * self._inner).sum()
        if target is not None:
            aimed = moments.tokens * target.square().sum() - 2 * target @ moments.output_sum
            total = total + aimed - 2 * target @ (targets @ self._input + self._offset)
        return float(total) / (moments.tokens * len(targets))


@dataclass(frozen=True)
class FirstTokens:
    """One retain batch's first tokens: a, [batch, n], h − h⁰ before the solve, [batch, d], and ‖h⁰‖, [batch]."""

    inputs: Tensor
    moved: Tensor
    norms: Tensor

    def drift(self, change: Tensor) -> float:
        """Mean ‖h − h⁰ + D a‖/‖h⁰‖ for D, [d, n]: `Misdirection.first_token_drift`, without the model."""
        return float(((self.moved + self.inputs @ change.T.to(self.inputs)).norm(dim=1) / self.norms).mean())


@dataclass(frozen=True)
class MeasuredBlock:
    """What one pass over the text gives for a block: the scale s, and each topic's moments and averages."""

    linear_scale: float
    statistics: tuple[Statistics, ...]
    surveys: tuple[Survey, ...]
    first_tokens: tuple[FirstTokens, ...]


class Waypoints:
    """The input of the block that was measured last, for each batch, of the edited model and of the base.

    Blocks are solved in order, so nothing below the last one changes any more. What the frozen model's room does not
    hold is computed again.
    """

    def __init__(self, setup: Misdirection) -> None:
        self._setup = setup
        self._reached: dict[tuple[str, int, bool], tuple[int, Tensor]] = {}

    @torch.no_grad()
    def input(self, deck: Deck, number: int, block: int, *, base: bool) -> Tensor:
        """The input of a block of the window (counted from its first), [batch, tokens, d], for a whole batch."""
        window, frozen = self._setup.window, self._setup.frozen
        entry = frozen.entry(deck, number)
        if block == 0:
            return entry.hidden
        key = (deck.seed, number, base)
        begin, hidden = self._reached.get(key, (0, None))
        weights = frozen.weights if base else None
        hidden = window.replay(entry, weights, begin=begin, end=block, hidden=hidden)
        if block < len(window.blocks) - 1 and (key in self._reached or frozen.reserve(hidden.nbytes)):
            self._reached[key] = block, hidden
        return hidden

    def close(self) -> None:
        """Give the room back."""
        for _, hidden in self._reached.values():
            self._setup.frozen.reserve(-hidden.nbytes)
        self._reached.clear()


class _Block:
    """One trained block on the model as edited so far: the trained weight's input a, and the block's output h."""

    def __init__(self, setup: Misdirection, layer: int, module: str, waypoints: Waypoints) -> None:
        self.setup = setup
        self.waypoints = waypoints
        self.layer = layer
        self.number = layer - setup.first
        self.name = f"{layer}.{module}.weight"
        linear = setup.window.blocks[self.number].get_submodule(module)
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
        local = f"{self.number}.{self.name.partition('.')[2]}"

        def respond(weight: Tensor | None) -> tuple[Tensor, Tensor]:
            a, hidden = self.output(deck, 0, None if weight is None else {local: weight})
            if weight is None and not hidden.isfinite().all():
                self.setup.refuse_base(deck, 0)
            return a, hidden

        return linear_scale(respond, self.setup.trained.live[self.name].detach(), random=random)

    def output(self, deck: Deck, number: int, weights: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """a, [tokens, n], and h, [tokens, d], at the tokens of a batch that count."""
        a, hidden = self.run(deck, number, weights)
        counted = deck.batch(number).counted
        return a[counted], hidden[counted]

    def first_tokens(self, deck: Deck) -> FirstTokens:
        """The first tokens of the batch that the deck visits first."""
        number = deck.visit(0)
        a, hidden = self.run(deck, number)
        before = self.base(deck, number)[:, 0].float()
        return FirstTokens(a[:, 0].float(), hidden[:, 0].float() - before, before.norm(dim=1))

    @torch.no_grad()
    def run(self, deck: Deck, number: int, weights: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """a, [batch, tokens, n], and h, [batch, tokens, d], of a whole batch."""
        seen: list[Tensor] = []
        handle = self.linear.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        try:
            hidden = self._output(deck, number, weights, base=False)
        finally:
            handle.remove()
        # Some blocks hand all tokens of a batch to their MLP in one row.
        return seen[0].reshape(*hidden.shape[:-1], -1), hidden

    @torch.no_grad()
    def base(self, deck: Deck, number: int) -> Tensor:
        """h⁰, [batch, tokens, d], of a whole batch."""
        return self._output(deck, number, self.setup.frozen.weights, base=True)

    def _output(self, deck: Deck, number: int, weights: Mapping[str, Tensor] | None, *, base: bool) -> Tensor:
        hidden = self.waypoints.input(deck, number, self.number, base=base)
        entry = self.setup.frozen.entry(deck, number)
        return self.setup.window.replay(entry, weights, begin=self.number, end=self.number + 1, hidden=hidden)

    def measure(self, topic: TopicText, statistic: Statistic, progress: Progress) -> tuple[Statistics, Survey]:
        """One pass over a topic's text: its moments, and the frozen model's averages."""
        outputs, inputs = self.linear.weight.shape
        total = len(topic.forget) + len(topic.retain)
        sums: list[tuple[Moments, Average]] = []
        for role, deck in (("forget", topic.forget), ("retain", topic.retain)):
            moments, average = Moments(inputs, outputs, deck.device), Average(statistic)
            for number in range(len(deck))[self.setup.workers.rank :: self.setup.workers.size]:
                a, hidden = self.output(deck, number)
                # Nothing before the first trained block has changed, so its output is still the original one.
                original = self.base(deck, number)[deck.batch(number).counted] if self.number else hidden
                if not original.isfinite().all():
                    self.setup.refuse_base(deck, number)
                moments.add(a, hidden if role == "forget" else hidden.double() - original.double())
                average.add(original)
                progress(
                    f"measure {topic.name} block {self.layer}", number + 1 + (total - len(deck)) * bool(sums), total
                )
            moments.join(self.setup.workers)
            average.join(self.setup.workers)
            sums.append((moments, average))
        (forget, v_f), (retain, v_r) = sums
        return Statistics(forget, retain), Survey(v_f.features, v_r.features, v_f.norm)


def measure_block(
    setup: Misdirection, settings: Quadratic, layer: int, waypoints: Waypoints, progress: Progress
) -> MeasuredBlock:
    """Probe one trained block on the model as edited so far, and pass over all text once.

    Raises RemovalError where the block is not linear in the trained weight.
    """
    (module,) = settings.train.modules
    block = _Block(setup, layer, module, waypoints)
    scale = block.linear_scale(setup.topics[0].retain, generator(f"{settings.seed}/probe/{layer}"))
    pairs = [block.measure(topic, settings.statistic, progress) for topic in setup.topics]
    return MeasuredBlock(
        linear_scale=scale,
        statistics=tuple(each for each, _ in pairs),
        surveys=tuple(survey for _, survey in pairs),
        first_tokens=tuple(block.first_tokens(topic.retain) for topic in setup.topics),
    )


# What the solver needs of a block, from its number: measured then, or beforehand for several settings.
Measuring = Callable[[int, Waypoints], tuple[MeasuredBlock, Equations]]


def solve(setup: Misdirection, aiming: Aiming, settings: Quadratic, request: RemovalRequest[Any]) -> Edit:
    """Solve the trained blocks in order, one pass over all text a block; the state is saved after each block.

    The curve holds, for each block and topic, the losses at the solution before it is rounded to the model's dtype.
    Without `setup.measuring` the model is released before the last solve.
    Raises RemovalError where a block is not linear in the trained weight, or the text does not determine the change.
    """

    checkpoint, progress = request.checkpoint, request.progress

    def measure(layer: int, waypoints: Waypoints) -> tuple[MeasuredBlock, Equations]:
        measured = measure_block(setup, settings, layer, waypoints, progress)
        if layer == layers[-1]:
            waypoints.close()
            setup.release()  # nothing reads the model again, and a large solve needs its room
        return measured, Equations(measured.statistics, retain_weight=settings.retain_weight, ridge=settings.ridge)

    (module,) = settings.train.modules
    layers = sorted(settings.train.layers)
    curve, figures = _resume(checkpoint, setup)
    with closing(Waypoints(setup)) as waypoints:
        for done, layer in list(enumerate(layers))[len(curve) // len(setup.topics) :]:
            measured, equations = (setup.measuring or measure)(layer, waypoints)
            aims = [aiming(topic, survey) for topic, survey in zip(setup.topics, measured.surveys, strict=True)]
            targets = [aim.target.double() for aim in aims]
            change = equations.minimiser(targets)
            setup.trained.masters[f"{layer}.{module}.weight"].add_(change / measured.linear_scale)
            setup.trained.write()
            figures[f"layer_{layer}.linear_scale"] = measured.linear_scale
            for topic, first in zip(setup.topics, measured.first_tokens, strict=True):
                figures[f"{topic.name}.first_token_drift"] = first.drift(change)
            losses = zip(setup.topics, aims, measured.statistics, equations.losses(targets), strict=True)
            for topic, aim, statistics, (forget, retain) in losses:
                figures |= aim.figures(topic.name) | aim.figures(f"{topic.name}.layer_{layer}")
                figures[f"{topic.name}.forget_tokens"] = statistics.forget.tokens
                figures[f"{topic.name}.retain_tokens"] = statistics.retain.tokens
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
            if checkpoint is not None and setup.workers.rank == 0:
                _save(checkpoint, setup, curve, figures)
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
