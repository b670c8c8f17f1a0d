"""Fine-tuning in place: next-token cross-entropy, AdamW, every weight or a low-rank adapter, merged at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress, silent
from govern.training.adapters import adapt

_IGNORED = -100  # cross_entropy's mark for a position without a target


@dataclass(frozen=True)
class FineTuning:
    """How a model is trained on. `lora_rank` None trains every weight (Hu et al. 2021, arXiv 2106.09685, otherwise).

    An adapter sits on every linear map but the head, with α = 2 · rank and no dropout.
    """

    steps: int
    learning_rate: float
    batch_size: int = 4
    lora_rank: int | None = None
    seed: int = 0


def fine_tune(
    model: PreTrainedModel, corpus: TokenCorpus, settings: FineTuning, *, progress: Progress = silent
) -> tuple[float, ...]:
    """Train the model in place on documents, epoch after epoch, each in an order that the seed gives.

    Returns the loss of each step (nats a token). Equal inputs give equal bits on one machine. The model is left in
    evaluation mode, with ordinary weights: an adapter is merged into them. Raises GovernError where the loss diverges.
    """
    losses: list[float] = []
    with _trainable(model, settings) as parameters:
        optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0, foreach=False)
        for rows in _batches(corpus, settings):
            ids, real, targets = (each.to(model.device) for each in _padded(rows))
            logits = model(ids, attention_mask=real, use_cache=False).logits
            loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=_IGNORED)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise GovernError(
                    f"fine-tuning diverged: the loss is no longer a number at step {len(losses)}",
                    where="learning_rate",
                    hint=f"Lower it (it is {settings.learning_rate:g}).",
                )
            progress("fine-tune", len(losses), settings.steps, loss=losses[-1])
    return tuple(losses)


@contextmanager
def _trainable(model: PreTrainedModel, settings: FineTuning) -> Iterator[list[torch.nn.Parameter]]:
    """The parameters to train, which are part of the model afterwards."""
    frozen = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    adapted = None
    if settings.lora_rank is None:
        model.requires_grad_(requires_grad=True)
    else:
        adapted = adapt(model, settings.lora_rank, seed=settings.seed)
    model.train()
    try:
        yield [parameter for parameter in model.parameters() if parameter.requires_grad]
    finally:
        model.eval()
        if adapted is not None:
            adapted.merge_and_unload()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
            parameter.grad = None


def _batches(corpus: TokenCorpus, settings: FineTuning) -> Iterator[list[tuple[int, ...]]]:
    """`steps` batches of documents, in a new random order each epoch."""
    random = torch.Generator().manual_seed(settings.seed)
    waiting: list[int] = []
    for _ in range(settings.steps):
        while len(waiting) < settings.batch_size:
            waiting += torch.randperm(len(corpus.documents), generator=random).tolist()
        chosen, waiting = waiting[: settings.batch_size], waiting[settings.batch_size :]
        yield [corpus.documents[index] for index in chosen]


def _padded(rows: list[tuple[int, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, which of them are real, and each position's next id, all [rows, longest], padded on the right."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    targets = torch.full_like(ids, _IGNORED)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        real[row, : len(tokens)] = 1
        targets[row, : len(tokens) - 1] = torch.tensor(tokens[1:])
    return ids, real, targets
