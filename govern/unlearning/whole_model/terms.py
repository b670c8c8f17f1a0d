"""What a loss is made of: the batch whose turn it is, and terms that are differentiated one by one. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from govern.unlearning.whole_model.settings import Objective, RetainedObjective

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from govern.unlearning.batches import Batch
    from govern.unlearning.misdirection import TopicText
    from govern.unlearning.whole_model.student import Student


@dataclass(frozen=True)
class Turn:
    """One step of the loop: the topic whose turn it is, and which of its visits (from 0) this is."""

    topic: TopicText
    visit: int

    @property
    def forget(self) -> Batch:
        """The visit's batch of forget text."""
        return self.topic.forget.batch(self.topic.forget.visit(self.visit))

    @property
    def retain(self) -> Batch:
        """The visit's batch of retain text."""
        return self.topic.retain.batch(self.topic.retain.visit(self.visit))


@dataclass(frozen=True)
class Term:
    """One term of a loss: `weight` · `value` is what is minimised.

    The curve shows the value of terms about forget and retain text; others enter the loss alone. `update` asks for a
    step of the optimiser at once, on the terms so far; otherwise it follows the last term.
    """

    about: Literal["forget", "retain", "other"]
    weight: float
    value: Tensor
    update: bool = False


# A method's objective on one batch of each kind, from its settings. Each term is differentiated before the next is
# asked for, so that one graph is in memory at a time.
Loss = Callable[["Student", Turn, Any], Iterator[Term]]


class ObjectiveMemory(Protocol):
    """What an objective keeps from step to step beside the weights, for a checkpoint."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it, as tensors by name."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Be as it was when `tensors` gave these."""


@dataclass(frozen=True)
class Stretch:
    """One stretch of a session's descent: AdamW's settings, and the name that it goes by."""

    steps: int
    learning_rate: float
    weight_decay: float
    stage: str = "unlearn"
    more: Mapping[str, Parameter] = field(default_factory=dict)
    memory: ObjectiveMemory | None = None
    keep: bool = False  # the last step's state too, for a stretch that another one follows


def retain_loss(student: Student, turn: Turn, settings: RetainedObjective) -> Iterator[Term]:
    """+ α CE on the retain batch, where it weighs anything: what several objectives end with."""
    if settings.retain_weight:
        yield Term("retain", settings.retain_weight, student.read(turn.retain).loss())


def forget_descent(student: Student, turn: Turn, _settings: Objective) -> Iterator[Term]:
    """CE on the forget batch: plain fine-tuning on it."""
    yield Term("forget", 1.0, student.read(turn.forget).loss())
