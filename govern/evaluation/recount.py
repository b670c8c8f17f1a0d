"""The scorer is the model: some likelihoods recomputed one by one by a plain forward, without cache, batch or sharing.

A scorer that shares work can be wrong where a model does not allow it; this is seen in every verification, not only in
tests. The likelihoods on the texts with the smallest checksums are kept as they are scored.
"""

from __future__ import annotations

import math
import zlib
from array import array
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from govern.evaluation.positions import forget_length, keeps_few_logits, switches_at

Ids = tuple[int, ...]

TEXTS = 8
"""On how many texts of each model likelihoods are recomputed: of a question with letters, all letters' at once."""

_TOLERANCES = {torch.float32: 2e-3, torch.float64: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.4}


def tolerance(dtype: torch.dtype) -> float:
    """How far apart another order of adding up may put a log-likelihood, in nats a token.

    Of half precision, a token's logit alone has a last digit worth 0.06 (bfloat16) at 16.
    """
    return _TOLERANCES[dtype]


@dataclass
class ScoredTexts:
    """Likelihoods as they were scored, on the `TEXTS` texts with the smallest checksums.

    `texts` maps a text without its last token, behind its checksum, to the likelihoods of what was scored there, by
    where the continuation begins and its last token.
    """

    texts: dict[tuple[int, Ids], dict[tuple[int, int], float]] = field(default_factory=dict)

    def take(self, context: Ids, continuation: Ids, likelihood: float) -> None:
        """Keep one where it belongs to the sample, which is the same in any order."""
        text = context + continuation[:-1]
        key = zlib.crc32(array("q", text).tobytes()), text
        if key not in self.texts and len(self.texts) == TEXTS:
            last = max(self.texts)
            if key > last:
                return
            del self.texts[last]
        self.texts.setdefault(key, {})[len(context), continuation[-1]] = likelihood


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


def recount(model: PreTrainedModel, kept: ScoredTexts) -> Recounted:
    """Recompute what was kept. The difference of a continuation is shared out over its tokens."""
    differences = [
        abs(plain - likelihood) / (len(text) - begin + 1)
        for (_, text), said in kept.texts.items()
        for (begin, _), plain, likelihood in zip(said, _plain(model, text, list(said)), said.values(), strict=True)
    ]
    return Recounted(len(differences), max(differences, default=0.0), tolerance(model.dtype))


def plain_likelihood(model: PreTrainedModel, context: Ids, continuation: Ids) -> float:
    """The log-likelihood (nats, float32 log-softmax) of a continuation, by one forward over the whole text alone."""
    return _plain(model, context + continuation[:-1], [(len(context), continuation[-1])])[0]


@torch.inference_mode()
def _plain(model: PreTrainedModel, text: Ids, ends: list[tuple[int, int]]) -> list[float]:
    """The same of several continuations of one text that differ in where they begin and in their last token."""
    if switches_at(model) is not None:
        forget_length(model)
    first = min(begin for begin, _ in ends)
    # with a last token, as the model would have read the whole of it; what it says after that is not looked at
    ids = torch.tensor([[*text, ends[0][1]]], device=model.device)
    few = {"logits_to_keep": ids.shape[1] - first + 1} if keeps_few_logits(model) else {}
    output: Any = model(ids, use_cache=False, **few)
    said = output.logits[0, first - 1 - ids.shape[1] : -1].float().log_softmax(dim=1)
    found = []
    for begin, last in ends:
        places = range(begin - first, len(said))
        found.append(
            math.fsum(float(said[place, token]) for place, token in zip(places, (*text[begin:], last), strict=True))
        )
    return found
