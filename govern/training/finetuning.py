"""Fine-tuning in place: next-token cross-entropy, AdamW, every weight or a low-rank adapter, merged at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress, silent
from govern.training.adapters import adapt
from govern.training.finite import refuse_not_finite

_IGNORED = -100  # cross_entropy's mark for a position without a target
_SORTED_BATCHES = 16


@dataclass(frozen=True)
class FineTuning:
    """How a model is trained on. `lora_rank` None trains every weight (Hu et al. 2021, arXiv 2106.09685, otherwise).

    An adapter sits on every linear map but the head, with α = 2 · rank and no dropout, and on the parameters named in
    `stacked`, each of which holds the maps of all experts. `dtype` is what products are
    computed in; weights, gradients and AdamW's moments are what the model is loaded in, float32 as a rule. `by_length`
    puts documents of about one length together, of every 16 batches: less padding, the same documents an epoch.
    """

    steps: int
    learning_rate: float
    batch_size: int = 4
    lora_rank: int | None = None
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    by_length: bool = False
    stacked: tuple[str, ...] = ()


def fine_tune(
    model: PreTrainedModel,
    corpus: TokenCorpus,
    settings: FineTuning,
    *,
    given: Sequence[int] | None = None,
    progress: Progress = silent,
) -> tuple[float, ...]:
    """Train the model in place on documents, epoch after epoch, each in an order that the seed gives.

    `given` counts, for each document, the tokens at its beginning that are only read and not learnt: a question before
    its answer. Returns the loss of each step (nats a token). Equal inputs give equal bits on one machine. The model is
    left in evaluation mode, with ordinary weights: an adapter is merged into them. Raises GovernError where the loss
    diverges, or the model as it is has no finite one.
    """
    known = [1] * len(corpus.documents) if given is None else given
    losses: list[float] = []
    with _trainable(model, settings) as parameters:
        optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0, fused=True)
        for chosen in _batches([len(document) for document in corpus.documents], settings):
            rows = [(corpus.documents[index], known[index]) for index in chosen]
            ids, real, targets = (each.to(model.device) for each in _padded(rows))
            learnt = targets != _IGNORED
            narrow = torch.autocast(model.device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16")
            with narrow, _head_only_at(model, learnt):
                logits = model(ids, attention_mask=real, use_cache=False).logits
            # A model whose head is no module of its own, or is not called as one, gives logits everywhere.
            loss = cross_entropy((logits[learnt] if logits.dim() == 3 else logits).float(), targets[learnt])
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                if len(losses) == 1:  # nothing was trained yet
                    refuse_not_finite(model, partial(model, ids, attention_mask=real, use_cache=False))
                raise GovernError(
                    f"fine-tuning diverged: the loss is no longer a number at step {len(losses)}",
                    where="learning_rate",
                    hint=f"Lower it (it is {settings.learning_rate:g}).",
                )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
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
        adapted = adapt(model, settings.lora_rank, seed=settings.seed, stacked=settings.stacked)
    # Without dropout: its random numbers are the process's, and other threads would take some of them.
    model.eval()
    try:
        yield [parameter for parameter in model.parameters() if parameter.requires_grad]
    finally:
        if adapted is not None:
            adapted.merge_and_unload()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
            parameter.grad = None


@contextmanager
def _head_only_at(model: PreTrainedModel, places: Tensor) -> Iterator[None]:
    """Let the model's head run at these places alone, bool [rows, positions]: its logits are then [places, vocabulary].

    The head and the loss of a small model with a large vocabulary are a third of a step.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return

    def choose(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        return (hidden.flatten(0, -2)[places.to(hidden.device).flatten()], *rest)

    hook = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()


def _batches(lengths: Sequence[int], settings: FineTuning) -> Iterator[list[int]]:
    """`steps` batches of documents by their index, in a new random order each epoch."""
    random = torch.Generator().manual_seed(settings.seed)
    together = _SORTED_BATCHES if settings.by_length else 1
    waiting: list[int] = []
    ready: list[list[int]] = []
    for _ in range(settings.steps):
        if not ready:
            wanted = together * settings.batch_size
            while len(waiting) < wanted:
                waiting += torch.randperm(len(lengths), generator=random).tolist()
            chosen, waiting = waiting[:wanted], waiting[wanted:]
            if settings.by_length:
                chosen.sort(key=lambda index: lengths[index])
            ready = [chosen[start : start + settings.batch_size] for start in range(0, wanted, settings.batch_size)]
            if settings.by_length:
                ready = [ready[place] for place in torch.randperm(together, generator=random).tolist()]
        yield ready.pop()


def _padded(rows: list[tuple[tuple[int, ...], int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, which of them are real, and each position's next id, all [rows, longest], padded on the right.

    Each row is a document's ids and how many of them are given, which are no targets.
    """
    longest = max(len(tokens) for tokens, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    targets = torch.full_like(ids, _IGNORED)
    for row, (tokens, given) in enumerate(rows):
        first = max(given, 1)
        ids[row, : len(tokens)] = torch.tensor(tokens)
        real[row, : len(tokens)] = 1
        targets[row, first - 1 : len(tokens) - 1] = torch.tensor(tokens[first:])
    return ids, real, targets
