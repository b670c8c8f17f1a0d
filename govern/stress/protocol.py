"""What an attack receives and returns, and where each one's code lives. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from govern.corpora import TokenCorpus
from govern.evaluation.answers import Answers
from govern.progress import Progress
from govern.stress.exam import Exam

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SettingsT = TypeVar("SettingsT", contravariant=True)


@dataclass(frozen=True)
class Target:
    """One model under attack, as fresh copies that an attack may spoil, and the text that an attacker may have.

    `unrelated` is the retain text, `related` the forget text.
    """

    load: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    unrelated: TokenCorpus
    related: TokenCorpus


class AttackMethod(Protocol[SettingsT]):
    """An attack: what the model says to the exam's questions once it was tampered with, or asked more cleverly."""

    def __call__(self, settings: SettingsT, target: Target, exam: Exam, progress: Progress) -> Answers:
        """Attack one model. Raises GovernError where the attack cannot be made."""


_ATTACKS = {
    "relearn": "govern.stress.relearning:relearn",
    "quantise": "govern.stress.quantisation:quantise",
    "logit_lens": "govern.stress.logit_lens:logit_lens",
    "format": "govern.stress.formats:ask_otherwise",
}


def load_attack(name: str) -> AttackMethod[Any]:
    """Import an attack (and torch with it)."""
    module, _, function = _ATTACKS[name].partition(":")
    attack: AttackMethod[Any] = getattr(import_module(module), function)
    return attack
