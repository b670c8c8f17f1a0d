"""What methods that steer representations share: the model's window, the trained parameters, each topic's text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from govern.digests import canonical_digest
from govern.errors import RemovalError
from govern.models import load_model
from govern.unlearning.activations import Entry, Window, find_blocks
from govern.unlearning.batches import Deck
from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.importance import Average, Statistic
from govern.unlearning.parameters import TrainedParameters
from govern.unlearning.protocol import Request
from govern.unlearning.settings_check import Refusal, check_settings
from govern.unlearning.srmu_settings import SrmuSettings

# What the frozen model said of a batch is kept up to here, and computed again beyond: another time, the same result.
_KEPT_BYTES = 128 * 2**20

# The map is averaged over mini-batches (the paper's section 3.2), at most this many of each kind: 64 × 4 × 512 tokens
# fix a mean far better than the map needs, and a whole corpus would cost more than the removal.
_SURVEYED_BATCHES = 64


@dataclass(frozen=True)
class TopicText:
    """One topic's batches. `visits` is how many steps are the topic's."""

    name: str
    forget: Deck
    retain: Deck
    visits: int


@dataclass(frozen=True)
class Survey:
    """What the frozen model makes of one topic's text: v_f and v_r ([d], float64), and the mean norms of h."""

    forget: Tensor
    retain: Tensor
    forget_norm: float
    retain_norm: float


class Frozen:
    """The model as it was: the window's input and h⁰ of each batch, kept as far as memory is granted."""

    def __init__(self, window: Window, weights: dict[str, Tensor]) -> None:
        self._window = window
        self._weights = weights
        self._entries: dict[tuple[str, int], Entry] = {}
        self._hidden: dict[tuple[str, int], Tensor] = {}
        self._room = _KEPT_BYTES

    def entry(self, deck: Deck, number: int) -> Entry:
        """The window's input for a batch: the same for the edited and the frozen model."""
        key = (deck.seed, number)
        if key in self._entries:
            return self._entries[key]
        entry = self._window.enter(deck.batch(number))
        if self._keep(entry.nbytes):
            self._entries[key] = entry
        return entry

    @torch.no_grad()
    def hidden(self, deck: Deck, number: int, *, keep: bool = False) -> Tensor:
        """h⁰ of a batch, [batch, tokens, d]. `keep` it where it will be asked for again."""
        key = (deck.seed, number)
        if key in self._hidden:
            return self._hidden[key]
        hidden = self._window.replay(self.entry(deck, number), self._weights)
        if keep and self._keep(hidden.nbytes):
            self._hidden[key] = hidden
        return hidden

    def _keep(self, size: int) -> bool:
        if size > self._room:
            return False
        self._room -= size
        return True


@dataclass(frozen=True)
class Misdirection:
    """A model opened for steering the output h of one block."""

    window: Window
    trained: TrainedParameters
    frozen: Frozen
    topics: tuple[TopicText, ...]
    fingerprint: str

    @classmethod
    def open(cls, request: Request[SrmuSettings]) -> Misdirection:
        """Load blocks 0 … ℓ and deal the topics' text into batches. Raises RemovalError where the model refuses."""
        settings = request.settings
        model = load_model(
            request.model_path,
            dtype={"bfloat16": torch.bfloat16, "float32": torch.float32}[settings.dtype],
            layers=settings.layer + 1,
            device=request.device,
            trust_remote_code=request.trust_remote_code,
        ).eval()
        _refuse(check_settings(settings, layers=len(find_blocks(model)), tensors=stored_tensors(request.model_path)))
        trained = TrainedParameters.select(model, settings.train, request.model_path)
        first = min(settings.train.layers)
        window = Window(model, first=first, last=settings.layer)
        count = len(request.topics)
        topics = tuple(
            TopicText(
                name=topic.name,
                forget=_deal(request, topic.name, "forget"),
                retain=_deal(request, topic.name, "retain"),
                visits=len(range(index, settings.steps, count)),
            )
            for index, topic in enumerate(request.topics)
        )
        fingerprint = canonical_digest(
            {
                "settings": settings.model_dump(mode="json"),
                "topics": [[topic.name, topic.forget.digest, topic.retain.digest] for topic in request.topics],
                "weights": trained.digest(),
            }
        )
        return cls(window, trained, Frozen(window, trained.within(first)), topics, fingerprint)

    def survey(self, topic: TopicText, statistic: Statistic, request: Request[SrmuSettings]) -> Survey:
        """Average the frozen model's h over the batches that a solver visits, the first few dozen of each kind."""
        averages = []
        for role, deck in (("forget", topic.forget), ("retain", topic.retain)):
            average = Average(statistic)
            numbers = dict.fromkeys(deck.visit(step) for step in range(min(max(topic.visits, 1), _SURVEYED_BATCHES)))
            for done, number in enumerate(numbers):
                request.progress(f"measure {topic.name} {role}", done, len(numbers))
                batch = deck.batch(number)
                average.add(self.frozen.hidden(deck, number, keep=role == "retain"), batch.counted)
            request.progress(f"measure {topic.name} {role}", len(numbers), len(numbers))
            averages.append(average)
        forget, retain = averages
        return Survey(forget.features, retain.features, forget.norm, retain.norm)

    def seen(self, deck: Deck, visits: int) -> int:
        """How many counted tokens that many visits go through."""
        return sum(int(deck.batch(deck.visit(visit)).counted.sum()) for visit in range(visits))

    def first_token_drift(self, topic: TopicText) -> float:
        """How far the first token, which does not count by default, has moved: mean ‖h − h⁰‖/‖h⁰‖, one batch."""
        number = topic.retain.visit(0)
        before = self.frozen.hidden(topic.retain, number)[:, 0].float()
        with torch.no_grad():
            after = self.window.replay(self.frozen.entry(topic.retain, number))[:, 0].float()
        return float(((after - before).norm(dim=1) / before.norm(dim=1)).mean())


def _refuse(refusals: tuple[Refusal, ...]) -> None:
    if refusals:
        location, message = refusals[0]
        raise RemovalError(message, where=".".join(("removal", *map(str, location))))


def _deal(request: Request[SrmuSettings], topic: str, role: str) -> Deck:
    settings = request.settings
    corpus = next(getattr(each, role) for each in request.topics if each.name == topic)
    return Deck.deal(
        corpus,
        batch_size=settings.batch_size,
        mask=settings.mask,
        seed=f"{settings.seed}/{topic}/{role}",
        device=request.device,
    )
