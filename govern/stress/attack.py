"""What every attack is: settings in a policy, a name, a cost, what `plan` refuses of it, and the attack itself.

Importing an attack loads no torch: what is heavy it imports once it is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from govern.corpora import TokenCorpus
from govern.evaluation.answers import Answers
from govern.progress import Progress
from govern.records import Record
from govern.stress.exam import Exam

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WHERE = "verification.stress"
"""Where an error of an attack points to, in a policy."""


@dataclass(frozen=True)
class Target:
    """One model under attack, as fresh copies that an attack may spoil, and what an attacker may have.

    `unrelated` is the retain text, `related` the forget text. `base` loads the base model, and `delta` holds the
    tensors that the removal changed, whole: an attacker may know both, also when attacking the base as control.
    """

    load: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    unrelated: TokenCorpus
    related: TokenCorpus
    base: Callable[[], PreTrainedModel]
    delta: Mapping[str, torch.Tensor]


class Attempt(Record):
    """One attack on one model: its answers, and what else was measured, numbers and digests but never a text.

    `doubt` says why the attack would have shown nothing even if all the knowledge were there; empty without a reason.
    """

    answers: Answers
    found: dict[str, JsonValue] = Field(default={})
    doubt: str = ""


@dataclass(frozen=True)
class Effort:
    """What an attack takes at most on one model.

    Steps of fine-tuning, questions to answer, and prefixes to try, each on `searched` questions.
    """

    steps: int = 0
    questions: int = 0
    prefixes: int = 0
    searched: int = 0


@dataclass(frozen=True)
class Conditions:
    """What `plan` knows of the model and the text before any attack: `retained` counts the documents to retain.

    `model` builds the model without its weights (on torch's device `meta`), so that its parts can be looked at.
    """

    tokenizer: PreTrainedTokenizerBase
    retained: int
    model: Callable[[], PreTrainedModel]


class AttackRefusal(NamedTuple):
    """Why an attack cannot be made, and which of its settings says so."""

    setting: str
    message: str
    hint: str


class Attack(BaseModel, ABC):
    """An attack as a policy lists it. Frozen, and strict about unknown keys.

    `title`: what it is, in a few words for people, with `words` for its settings in braces. `untold`: settings that
    its description leaves out. `standard`: the settings with which `stress: [standard]` stands for it.
    `knows_the_removal`: it needs the delta, so that what the base model says under it depends on the delta too.
    `asks_others`: it asks about the other facts as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: ClassVar[str]
    untold: ClassVar[frozenset[str]] = frozenset()
    standard: ClassVar[tuple[dict[str, Any], ...]] = ()
    knows_the_removal: ClassVar[bool] = False
    asks_others: ClassVar[bool] = False

    max_recovery: float | None = Field(
        default=None, ge=0, le=1, description="The largest share of the removed knowledge that may come back."
    )
    questions: int = Field(default=128, ge=8, description="How many of a task's certifying questions are asked.")
    attack: str

    @property
    def words(self) -> dict[str, Any]:
        """The settings as the title says them."""
        return dict(self)

    def describe(self) -> str:
        """The attack's name for people: its title, and every other setting that is not the default."""
        titled = {name for _, name, _, _ in Formatter().parse(self.title) if name}
        said = {"attack", "max_recovery", "questions"} | titled | self.untold
        others = [
            f"{name.replace('_', ' ')} {getattr(self, name)}"
            for name, field in type(self).model_fields.items()
            if name not in said and getattr(self, name) != field.default
        ]
        return ", ".join([self.title.format(**self.words), *others])

    def effort(self, *, asked: int, others: int, device: str) -> Effort:  # noqa: ARG002
        """What it takes on one model, where so many questions are asked and so many are about other facts."""
        return Effort(questions=asked + others if self.asks_others else asked)

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:  # noqa: ARG002
        """Why it cannot be made under these conditions."""
        yield from ()

    @abstractmethod
    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Attack one model: what it says to the exam's questions once it was tampered with, or asked more cleverly.

        Raises GovernError where the attack cannot be made.
        """
