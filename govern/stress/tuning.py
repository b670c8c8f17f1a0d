"""What attacks that fine-tune share: their settings, and the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from govern.corpora import TokenCorpus
from govern.progress import Progress
from govern.stress.attack import Attack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ADAPTER_RATE, _WHOLE_RATE = 2e-4, 2e-5


class Tuning(Attack):
    """An attack that fine-tunes."""

    epochs: int = Field(default=3, ge=1, description="How often each is seen.")
    lora_rank: int | None = Field(default=128, ge=1, description="An adapter's rank; null trains every weight.")
    learning_rate: float | None = Field(
        default=None, gt=0, description="AdamW's. By default 2e-4 for an adapter and 2e-5 for every weight."
    )
    batch_size: int = Field(default=4, ge=1, description="Documents in a batch.")
    seed: int = Field(default=0, ge=0, description="Decides which documents, and their order.")

    @property
    def words(self) -> dict[str, Any]:
        """The rank as what is trained."""
        return super().words | {"lora_rank": f"rank {self.lora_rank}" if self.lora_rank else "every weight"}

    def steps(self, documents: int) -> int:
        """The batches in which so many documents are seen as often as they should be."""
        return math.ceil(documents * self.epochs / self.batch_size)

    def fine_tune(self, model: PreTrainedModel, corpus: TokenCorpus, progress: Progress, *, stage: int = 0) -> int:
        """Fine-tune in place on all documents, and say in how many steps; each `stage` draws anew."""
        from govern.training import FineTuning, fine_tune

        default = _WHOLE_RATE if self.lora_rank is None else _ADAPTER_RATE
        training = FineTuning(
            steps=self.steps(len(corpus.documents)),
            learning_rate=self.learning_rate or default,
            batch_size=self.batch_size,
            lora_rank=self.lora_rank,
            seed=self.seed + stage,
        )
        fine_tune(model, corpus, training, progress=progress)
        return training.steps


def shuffled(documents: Sequence[tuple[int, ...]], seed: int) -> tuple[tuple[int, ...], ...]:
    """Documents in the order that a seed gives."""
    import torch

    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(documents[index] for index in order)
