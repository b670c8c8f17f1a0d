"""Batches of token ids, which of their tokens count, and the order in which a seed visits them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from govern.corpora.tokens import TokenCorpus
from govern.errors import RemovalError
from govern.unlearning.workers import Workers

Mask = Literal["default", "reference"]


@dataclass(frozen=True)
class Batch:
    """Documents padded on the right. All tensors are [batch, tokens].

    `counted` marks the tokens that averages and losses run over: by default the real ones without each document's
    first (its massive activation would own the loss); under `reference` every position, padding too.
    """

    input_ids: Tensor
    attention_mask: Tensor
    counted: Tensor


@dataclass(frozen=True)
class Deck:
    """A corpus dealt into fixed batches. Batches never change their documents, so that what is known of one stays so.

    Each epoch visits every batch once, in an order that follows from the seed alone. Where several workers share the
    deck, `batch` holds the rows of worker `rank` of `workers`, padded as the whole batch is. A worker that finds none
    left holds a row of which nothing counts: its sums are zero, and it keeps step.
    """

    documents: tuple[tuple[tuple[int, ...], ...], ...]
    mask: Mask
    seed: str
    device: str = "cpu"
    rank: int = 0
    workers: int = 1

    @classmethod
    def deal(
        cls,
        corpus: TokenCorpus,
        *,
        batch_size: int,
        mask: Mask,
        seed: str,
        device: str = "cpu",
        by_length: bool = False,
    ) -> Deck:
        """Shuffle the documents once and cut them into batches; the last may be smaller.

        `by_length` puts documents of like length into one batch, for solvers to whom batches mean nothing: less
        padding to compute. Documents without a token that counts are left out. Raises RemovalError where none is left.
        """
        least = 2 if mask == "default" else 1
        usable = [document for document in corpus.documents if len(document) >= least]
        if not usable:
            raise RemovalError(
                "a corpus has no document of two tokens or more",
                where=seed,
                hint="Check the source's column and max_tokens: the first token of a document never counts.",
            )
        order = torch.randperm(len(usable), generator=generator(f"{seed}/deal")).tolist()
        if by_length:
            order.sort(key=lambda index: len(usable[index]))
        groups = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
        return cls(tuple(tuple(usable[index] for index in group) for group in groups), mask, seed, device)

    def shared(self, workers: Workers) -> Deck:
        """This worker's rows of every batch."""
        return replace(self, rank=workers.rank, workers=workers.size)

    def __len__(self) -> int:
        return len(self.documents)

    def visit(self, step: int) -> int:
        """The number of the batch that visit `step` (from 0) is to."""
        epoch, place = divmod(step, len(self))
        return int(torch.randperm(len(self), generator=generator(f"{self.seed}/epoch {epoch}"))[place])

    def counted(self, numbers: Iterable[int]) -> int:
        """How many tokens count in these batches together, whoever holds them."""
        batches = [list(map(len, self.documents[number])) for number in numbers]
        if self.mask == "default":
            return sum(length - 1 for lengths in batches for length in lengths)
        return sum(len(lengths) * max(lengths) for lengths in batches)

    def batch(self, number: int) -> Batch:
        """The batch of that number."""
        length = max(map(len, self.documents[number]))
        own = self.documents[number][self.rank :: self.workers]
        documents = own or self.documents[number][:1]
        ids = torch.zeros(len(documents), length, dtype=torch.long)
        real = torch.zeros(len(documents), length, dtype=torch.long)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = torch.tensor(document)
            real[row, : len(document)] = 1
        counted = torch.ones_like(real, dtype=torch.bool)
        if self.mask == "default":
            counted = real.bool()
            counted[:, 0] = False
        if not own:
            counted = torch.zeros_like(counted)
        return Batch(ids.to(self.device), real.to(self.device), counted.to(self.device))


def padded(documents: Sequence[Sequence[int]], prompts: Sequence[int], device: str) -> Batch:
    """Documents as a batch in which the first `prompts` tokens of each do not count."""
    longest = max(map(len, documents))
    ids = torch.zeros(len(documents), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    counted = torch.zeros_like(ids, dtype=torch.bool)
    for row, (document, prompt) in enumerate(zip(documents, prompts, strict=True)):
        ids[row, : len(document)] = torch.tensor(document)
        real[row, : len(document)] = 1
        counted[row, prompt : len(document)] = True
    return Batch(ids.to(device), real.to(device), counted.to(device))


def generator(name: str) -> torch.Generator:
    """A random generator for one purpose: names that differ give streams that have nothing in common."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
