"""What attacks that fine-tune share: their settings, and the training."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from govern.corpora import TokenCorpus
from govern.progress import Progress
from govern.stress.attack import AttackRefusal, Conditions
from govern.stress.weights import Matrix, Tampering, coverage, matrices, shortfall

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ADAPTER_RATE, _WHOLE_RATE = 2e-4, 2e-5
_DOCUMENTS = 8  # whose loss is measured: few of many, as it costs a forward for each
_LEAST_FALL = 0.001  # of a loss, more than rounding


class Tuning(Tampering):
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

    def reaches(self, matrix: Matrix) -> bool:
        """Whether it changes a matrix: an adapter does not sit everywhere."""
        return matrix.reachable if self.lora_rank else True

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:
        """What any attack on weights refuses, and a model that no adapter fits."""
        refused = list(super().refusals(conditions))
        yield from refused
        if self.lora_rank is None or any(refusal.setting == "attack" for refusal in refused):
            return
        from govern.training import adapt

        model = copy.deepcopy(conditions.model())
        try:
            adapt(model, 1, seed=0, stacked=self._stacked(matrices(model)))
        except ValueError as error:
            yield AttackRefusal(
                "lora_rank", f"no adapter fits this model: {error}", "Train every weight: `lora_rank: null`."
            )

    def _stacked(self, found: Mapping[str, Matrix]) -> tuple[str, ...]:
        return tuple(name for name, each in found.items() if self.reaches(each) and not each.is_map)

    def fine_tune(self, model: PreTrainedModel, corpus: TokenCorpus, progress: Progress, *, stage: int = 0) -> Training:
        """Fine-tune in place on all documents; each `stage` draws anew."""
        from govern.training import FineTuning, fine_tune

        found = matrices(model)
        before, loss_before = {name: _sums(each) for name, each in found.items()}, _loss(model, corpus)
        default = _WHOLE_RATE if self.lora_rank is None else _ADAPTER_RATE
        training = FineTuning(
            steps=self.steps(len(corpus.documents)),
            learning_rate=self.learning_rate or default,
            batch_size=self.batch_size,
            lora_rank=self.lora_rank,
            seed=self.seed + stage,
            stacked=self._stacked(found),
        )
        fine_tune(model, corpus, training, progress=progress)
        reached = [name for name, each in matrices(model).items() if _sums(each) != before[name]]
        return Training(training.steps, coverage(found, reached), loss_before, _loss(model, corpus))


@dataclass(frozen=True)
class Training:
    """What a fine-tuning did: its steps, its coverage, and the loss (nats a token) on its first documents."""

    steps: int
    coverage: float
    loss_before: float
    loss_after: float

    @property
    def doubt(self) -> str:
        """Why it would show nothing, empty where it learnt and reached the weights that count."""
        if self.loss_after > self.loss_before * (1 - _LEAST_FALL):
            return f"the loss on its own text did not fall ({self.loss_before:.4f} before, {self.loss_after:.4f} after)"
        return shortfall(self.coverage)

    @property
    def found(self) -> dict[str, JsonValue]:
        """Its figures, for a record."""
        losses = {"loss_before": round(self.loss_before, 4), "loss_after": round(self.loss_after, 4)}
        return {"coverage": self.coverage, **losses}


def _sums(matrix: Matrix) -> tuple[float, float]:
    """What tells a matrix that was trained from one that was not, without a copy of it."""
    values = matrix.parameter.detach().double()
    return float(values.sum()), float(values.square().sum())


def _loss(model: PreTrainedModel, corpus: TokenCorpus) -> float:
    """The mean loss over the tokens of a corpus's first documents."""
    import torch
    from torch.nn.functional import cross_entropy

    total, tokens = 0.0, 0
    with torch.no_grad():  # not inference mode: some models keep a state that training then goes through
        for document in corpus.documents[:_DOCUMENTS]:
            ids = torch.tensor([document], device=model.device)
            logits = model(ids, use_cache=False).logits[0, :-1].float()
            total += float(cross_entropy(logits, ids[0, 1:], reduction="sum"))
            tokens += len(document) - 1
    return total / max(tokens, 1)


def shuffled(documents: Sequence[tuple[int, ...]], seed: int) -> tuple[tuple[int, ...], ...]:
    """Documents in the order that a seed gives."""
    import torch

    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(documents[index] for index in order)
