"""What methods that steer representations share: the model's window, the trained parameters, each topic's text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from govern.corpora.tokens import TokenCorpus
from govern.digests import canonical_digest
from govern.errors import RemovalError
from govern.models import load_model
from govern.progress import Progress, silent
from govern.training.finite import refuse_not_finite
from govern.unlearning.activations import Window, WindowInput, find_blocks
from govern.unlearning.batches import Deck
from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.importance import Average, Statistic
from govern.unlearning.parameters import TrainedParameters
from govern.unlearning.protocol import RemovalRequest
from govern.unlearning.settings import Descent, Steering
from govern.unlearning.settings_check import check_steering
from govern.unlearning.workers import Workers

# How the closed form measures a block, from its number and what was found of the blocks before it.
Measuring = Callable[[int, Any], Any]

# What the frozen model said of a batch is kept up to here, and computed again beyond: another time, the same result.
_KEPT_BYTES = 128 * 2**20

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

SteeringT = TypeVar("SteeringT", bound=Steering)


@dataclass(frozen=True)
class TopicText:
    """One topic's batches. `seed` is what its random numbers follow from."""

    name: str
    seed: str
    forget: Deck
    retain: Deck


def topic_texts(request: RemovalRequest[Any], deal: Callable[[TokenCorpus, str], Deck]) -> tuple[TopicText, ...]:
    """Each topic's text in batches, as `deal` makes them of a corpus and a seed of its own."""
    texts = []
    for topic in request.topics:
        seed = f"{request.settings.seed}/{topic.name}"
        forget, retain = deal(topic.forget, f"{seed}/forget"), deal(topic.retain, f"{seed}/retain")
        texts.append(TopicText(topic.name, seed, forget, retain))
    return tuple(texts)


def fingerprint_of(request: RemovalRequest[Any], weights: str) -> str:
    """What a checkpoint is of: the settings, the text, and the digest of the weights that it started from."""
    return canonical_digest(
        {
            "settings": request.settings.model_dump(mode="json"),
            "topics": [[topic.name, topic.forget.digest, topic.retain.digest] for topic in request.topics],
            "weights": weights,
        }
    )


@dataclass(frozen=True)
class Survey:
    """What the frozen model makes of one topic's text: v_f and v_r ([d], float64), and the mean ‖h‖ on forget text."""

    forget: Tensor
    retain: Tensor
    forget_norm: float


@dataclass(frozen=True)
class Aim:
    """Where a topic's h is steered: T ([d], float32), the absolute c in it, and the mean ‖h‖ that it starts from."""

    target: Tensor
    coefficient: float
    mean_norm: float

    def figures(self, prefix: str) -> dict[str, float]:
        """The figures of a removal that describe the aim."""
        return {
            f"{prefix}.coefficient": self.coefficient,
            f"{prefix}.target_norm": float(self.target.norm()),
            f"{prefix}.mean_norm": self.mean_norm,
        }


class Frozen:
    """The base model: the window's input and h⁰ of each batch, kept in at most `room` bytes."""

    def __init__(self, window: Window, weights: Mapping[str, Tensor], *, room: int) -> None:
        self.weights = weights
        self._window = window
        self._entries: dict[tuple[str, int], WindowInput] = {}
        self._newest: tuple[tuple[str, int], WindowInput] | None = None
        self._hidden: dict[tuple[str, int], Tensor] = {}
        self._room = room

    def entry(self, deck: Deck, number: int) -> WindowInput:
        """The window's input for a batch: the same for the edited and the frozen model."""
        key = (deck.seed, number)
        if key in self._entries:
            return self._entries[key]
        # Beyond the room, what the edited model needs of a batch and what the frozen one needs still follow each other.
        if self._newest is None or self._newest[0] != key:
            self._newest = None
            self._newest = key, self._window.enter(deck.batch(number))
        entry = self._newest[1]
        if self.reserve(entry.nbytes):
            self._entries[key] = entry
        return entry

    @torch.no_grad()
    def hidden(self, deck: Deck, number: int, *, keep: bool = False) -> Tensor:
        """h⁰ of a batch, [batch, tokens, d]. `keep` it where it will be asked for again."""
        key = (deck.seed, number)
        if key in self._hidden:
            return self._hidden[key]
        hidden = self._window.replay(self.entry(deck, number), self.weights)
        if keep and self.reserve(hidden.nbytes):
            self._hidden[key] = hidden
        return hidden

    def release(self) -> None:
        """Let go of what is kept."""
        self._entries.clear()
        self._newest = None
        self._hidden.clear()

    def reserve(self, size: int) -> bool:
        """Take so many bytes of the room, where it has them."""
        if size > self._room:
            return False
        self._room -= size
        return True


@dataclass(frozen=True)
class Misdirection:
    """A model opened for steering the output h of block ℓ; its window begins at the first trained block.

    `measuring` gives the closed form what other settings measured before. For descent each worker holds its rows of
    every batch; for the closed form all hold all batches, and each passes
    over its share of them, since a forward of fewer rows rounds differently.
    """

    window: Window
    first: int
    trained: TrainedParameters
    frozen: Frozen
    topics: tuple[TopicText, ...]
    fingerprint: str
    workers: Workers
    measuring: Measuring | None = None

    @classmethod
    def open(cls, request: RemovalRequest[SteeringT], *, room: int = _KEPT_BYTES) -> Misdirection:
        """Load blocks 0 … ℓ and deal the topics' text into batches. Raises RemovalError where the model refuses.

        `room`: bytes for what the frozen model says of the batches.
        """
        settings = request.settings
        model = load_model(
            request.model_path,
            dtype=_DTYPES[settings.dtype],
            layers=settings.layer + 1,
            device=request.device,
            trust_remote_code=request.trust_remote_code,
        )
        for location, message in check_steering(settings, len(find_blocks(model)), stored_tensors(request.model_path)):
            raise RemovalError(message, where=".".join(("removal", *map(str, location))))
        trained = TrainedParameters.select(model, settings.train, request.model_path)
        first = min(settings.train.layers)
        window = Window(model, first=first, last=settings.layer)

        def deal(corpus: TokenCorpus, seed: str) -> Deck:
            descent = isinstance(settings, Descent)
            deck = Deck.deal(
                corpus,
                batch_size=settings.batch_size,
                mask=settings.mask,
                seed=seed,
                device=request.device,
                by_length=not descent,
            )
            return deck.shared(request.workers) if descent else deck

        return cls(
            window=window,
            first=first,
            trained=trained,
            frozen=Frozen(window, trained.within(first), room=room),
            topics=topic_texts(request, deal),
            fingerprint=fingerprint_of(request, trained.digest()),
            workers=request.workers,
        )

    def release(self) -> None:
        """Free the model and what it said of the text; of it, the trained parameters stay."""
        self.window.release()
        self.frozen.release()
        for parameter in self.trained.live.values():
            # Weights that have the checkpoint's dtype are views of its file, and one view holds all of it in memory.
            parameter.data = parameter.data.clone()

    def survey(
        self, topic: TopicText, visits: Iterable[int], statistic: Statistic = "mean_abs", *, progress: Progress = silent
    ) -> Survey:
        """Average the frozen model's h over the batches of these visits."""
        averages = []
        for role, deck in (("forget", topic.forget), ("retain", topic.retain)):
            average = Average(statistic)
            numbers = dict.fromkeys(map(deck.visit, visits))
            for done, number in enumerate(numbers, start=1):
                hidden = self.frozen.hidden(deck, number, keep=role == "retain")
                if not hidden.isfinite().all():
                    self.refuse_base(deck, number)
                average.add(hidden[deck.batch(number).counted])
                progress(f"measure {topic.name} {role}", done, len(numbers))
            average.join(self.workers)
            averages.append(average)
        forget, retain = averages
        return Survey(forget.features, retain.features, forget.norm)

    def refuse_base(self, deck: Deck, number: int) -> None:
        """Raise RemovalError where the base model's own weights, or what it computes of a batch, are not finite.

        For who has met a number that is not finite: the edit so far is dropped.
        """
        self.trained.reset()
        batch = deck.batch(number)
        refuse_not_finite(
            self.window.model,
            lambda: self.window.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False),
        )

    def figures(self, topic: TopicText, aim: Aim, visits: int) -> dict[str, float]:
        """What a reader needs to judge the edit of one topic, after `visits` batches of each kind."""
        return aim.figures(topic.name) | {
            f"{topic.name}.first_token_drift": self.first_token_drift(topic),
            f"{topic.name}.forget_tokens": topic.forget.counted(map(topic.forget.visit, range(visits))),
            f"{topic.name}.retain_tokens": topic.retain.counted(map(topic.retain.visit, range(visits))),
        }

    def first_token_drift(self, topic: TopicText) -> float:
        """How far the first token, which does not count by default, has moved: mean ‖h − h⁰‖/‖h⁰‖, one batch."""
        number = topic.retain.visit(0)
        before = self.frozen.hidden(topic.retain, number, keep=True)[:, 0].float()
        with torch.no_grad():
            after = self.window.replay(self.frozen.entry(topic.retain, number))[:, 0].float()
        own = topic.retain.batch(number).counted.any(dim=1)
        drifts = ((after - before).norm(dim=1) / before.norm(dim=1))[own]
        total = torch.stack([drifts.sum(), drifts.new_tensor(len(drifts))])
        self.workers.add(total)
        return float(total[0] / total[1])
