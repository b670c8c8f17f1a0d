"""The scorer is the model: some likelihoods recomputed one by one by a plain forward, without cache, batch or sharing.

A scorer that shares work can be wrong where a model does not allow it; this is seen in every verification, not only in
tests. The likelihoods of the continuations whose ids have the smallest checksums are kept as they are scored.
"""

from __future__ import annotations

import heapq
import zlib
from array import array
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from govern.evaluation.positions import forget_length, keeps_few_logits, switches_at

Ids = tuple[int, ...]

SAMPLE = 16
"""How many likelihoods of each model are recomputed."""

_TOLERANCES = {torch.float32: 2e-3, torch.float64: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.4}


def tolerance(dtype: torch.dtype) -> float:
    """How far apart two ways of adding up may put the log-likelihood (nats) of one token; twice that for a whole text.

    Of half precision, a token's logit alone has a last digit worth 0.06 (bfloat16) at 16.
    """
    return _TOLERANCES[dtype]


@dataclass
class Kept:
    """The `SAMPLE` scored continuations with the smallest checksums: (−checksum, context, continuation, likelihood)."""

    found: list[tuple[int, Ids, Ids, float]] = field(default_factory=list)

    def take(self, context: Ids, continuation: Ids, likelihood: float) -> None:
        """Keep one where it belongs to the sample; the same one is kept once."""
        entry = (-zlib.crc32(array("q", context + continuation).tobytes()), context, continuation, likelihood)
        if len(self.found) < SAMPLE:
            if all(entry[:3] != other[:3] for other in self.found):
                heapq.heappush(self.found, entry)
        elif entry[0] > self.found[0][0] and all(entry[:3] != other[:3] for other in self.found):
            heapq.heapreplace(self.found, entry)


@dataclass(frozen=True)
class Recounted:
    """What recomputing came to: how many likelihoods, the largest difference (nats a token), and what was allowed."""

    n: int
    largest: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether all are as close as adding up in another order puts them."""
        return self.largest <= self.allowed


def recount(model: PreTrainedModel, kept: Kept) -> Recounted:
    """Recompute what was kept. The difference of a continuation is shared out over its tokens."""
    differences = [
        abs(plain_likelihood(model, context, continuation) - likelihood) / len(continuation)
        for _, context, continuation, likelihood in kept.found
    ]
    return Recounted(len(differences), max(differences, default=0.0), tolerance(model.dtype))


@torch.inference_mode()
def plain_likelihood(model: PreTrainedModel, context: Ids, continuation: Ids) -> float:
    """The log-likelihood (nats, float32 log-softmax) of a continuation, by one forward over the whole text alone."""
    if switches_at(model) is not None:
        forget_length(model)
    ids = torch.tensor([context + continuation], device=model.device)
    few = {"logits_to_keep": len(continuation) + 1} if keeps_few_logits(model) else {}
    output: Any = model(ids, use_cache=False, **few)
    logits = output.logits[0, -len(continuation) - 1 : -1].float()
    wanted = torch.tensor(continuation, device=logits.device)
    return float(logits.log_softmax(dim=1).gather(1, wanted[:, None]).double().sum())
