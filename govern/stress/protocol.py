"""What an attack receives and returns, and where each one's code lives. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import Field, JsonValue

from govern.corpora import TokenCorpus
from govern.evaluation.answers import Answers
from govern.progress import Progress
from govern.records import Record
from govern.stress.exam import Exam

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SettingsT = TypeVar("SettingsT", contravariant=True)


@dataclass(frozen=True)
class Target:
    """One model under attack, as fresh copies that an attack may spoil, and what an attacker may have.

    `unrelated` is the retain text, `related` the forget text. `base` loads the untouched model, and `delta` holds the
    tensors that the removal changed, whole: an attacker may know both, also when attacking the base as control.
    """

    load: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    unrelated: TokenCorpus
    related: TokenCorpus
    base: Callable[[], PreTrainedModel]
    delta: Mapping[str, torch.Tensor]


class Attempt(Record):
    """One attack on one model: its answers, and what else was measured, numbers and digests but never a text."""

    answers: Answers
    found: dict[str, JsonValue] = Field(default={})


class AttackMethod(Protocol[SettingsT]):
    """An attack: what the model says to the exam's questions once it was tampered with, or asked more cleverly."""

    def __call__(self, settings: SettingsT, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Attack one model. Raises GovernError where the attack cannot be made."""


_ATTACKS = {
    "relearn": "govern.stress.relearning:relearn",
    "quantise": "govern.stress.quantisation:quantise",
    "logit_lens": "govern.stress.logit_lens:logit_lens",
    "format": "govern.stress.formats:ask_otherwise",
    "linear_probe": "govern.stress.probe:linear_probe",
    "ablate": "govern.stress.ablation:ablate",
    "prune": "govern.stress.pruning:prune",
    "endure": "govern.stress.endurance:endure",
    "generate": "govern.stress.generation:generate",
    "gcg": "govern.stress.gcg:gcg",
}


def load_attack(name: str) -> AttackMethod[Any]:
    """Import an attack (and torch with it)."""
    module, _, function = _ATTACKS[name].partition(":")
    attack: AttackMethod[Any] = getattr(import_module(module), function)
    return attack
