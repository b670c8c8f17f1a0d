"""What a method receives and returns. A method sees tokens and settings, never a policy, a run folder or a log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from govern.corpora.tokens import TokenCorpus
from govern.progress import Progress, silent
from govern.records import CurvePoint
from govern.unlearning.workers import ALONE, Workers

if TYPE_CHECKING:
    import torch

Scope = Literal["representation", "neuron", "logit", "weight"]

SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True)
class Topic:
    """One body of knowledge: the text that holds it and the text whose representation must stay."""

    name: str
    forget: TokenCorpus
    retain: TokenCorpus


@dataclass(frozen=True)
class RemovalRequest(Generic[SettingsT]):
    """One call of a method.

    `model_path` is a folder with config, tokenizer and safetensors. `checkpoint` is a folder that belongs to this
    removal alone: a method saves its state there as it goes and continues from it when it finds one, so that a killed
    run and an uninterrupted one give the same delta, bit for bit. `workers` compute it together; all of them return
    the same edit, and rank 0 alone writes to `checkpoint`. `edited` is the folder of the model that was edited
    elsewhere, which the method `external` alone reads.
    """

    model_path: Path
    topics: tuple[Topic, ...]
    settings: SettingsT
    device: str = "cpu"
    trust_remote_code: bool = False
    checkpoint: Path | None = None
    progress: Progress = silent
    workers: Workers = ALONE
    edited: Path | None = None


@dataclass(frozen=True)
class Edit:
    """The changed tensors, whole, by checkpoint name, in the checkpoint's dtype, and the figures that describe them."""

    tensors: Mapping[str, torch.Tensor]
    curve: tuple[CurvePoint, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
