"""The language model behind lm-eval: its Hugging Face model, scoring only what a question asks for.

The official tasks and their prompts stay lm-eval's. What changes is how token sequences meet the model: the choices of
one question share the work on the question, batches are filled by tokens instead of rows so that long prompts fit into
memory, and the head, a fifth of a small model's work, runs only at scored positions and in float32 from there on.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from govern.progress import Progress, silent

_TOKENS_PER_BATCH = 2048


class Scorer(HFLM):  # type: ignore[misc]
    """lm-eval's causal language model around a model in memory. `stage` names the work in progress reports."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, progress: Progress = silent):
        super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=1)
        self.stage = "answer questions"
        self._progress = progress

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Score requests as lm-eval's model does, without its bar."""
        scored: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        return scored

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,  # noqa: ARG002  lm-eval's signature; progress goes to the listener
        override_bs: int | None = None,  # noqa: ARG002
    ) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each continuation given its context, and whether greedy decoding would say it.

        `requests` hold (texts, context ids, continuation ids). Too long a request loses tokens from its left.
        """
        texts: dict[tuple[int, ...], list[_Continuation]] = {}
        for index, (_, context, continuation) in enumerate(requests):
            cut = tuple((context + continuation)[-(self.max_length + 1) : -len(continuation)])
            texts.setdefault(cut, []).append(_Continuation(index, tuple(continuation)))
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        done = 0
        for contexts, score in self._batches(texts):
            for index, answer in score(self.model, contexts, [texts[context] for context in contexts]):
                answers[index] = answer
            done += len(contexts)
            self._progress(self.stage, done, len(texts))
        return answers

    def _batches(self, texts: Mapping[tuple[int, ...], list[_Continuation]]) -> Iterator[tuple[list[Any], _Score]]:
        """Batches of contexts, longest first, each with the way to score it."""
        ordered = sorted(texts, key=len, reverse=True)
        # what a recurrent model remembers cannot be handed to several continuations
        shares = not getattr(self.model, "_is_stateful", False)
        branching = [
            shares and len(texts[context]) > 1 and any(len(each.tokens) > 1 for each in texts[context])
            for context in ordered
        ]
        straight = [context for context, branches in zip(ordered, branching, strict=True) if not branches]
        for contexts in batches(straight, tokens=_TOKENS_PER_BATCH):
            yield contexts, _score_straight
        # equal lengths only: the remembered context then needs neither padding nor a mask
        for _, equal in groupby((c for c, branches in zip(ordered, branching, strict=True) if branches), key=len):
            for contexts in batches(list(equal), tokens=_TOKENS_PER_BATCH):
                yield contexts, _score_branching


@dataclass(frozen=True)
class _Continuation:
    """A continuation to score: the index of its request, and its token ids."""

    index: int
    tokens: tuple[int, ...]


class _Score(Protocol):
    """A way to score the continuations of each of several contexts: pairs of a request's index and its answer."""

    def __call__(
        self, model: PreTrainedModel, contexts: list[tuple[int, ...]], continuations: list[list[_Continuation]]
    ) -> list[tuple[int, tuple[float, bool]]]: ...


def _score_straight(
    model: PreTrainedModel, contexts: list[tuple[int, ...]], continuations: list[list[_Continuation]]
) -> list[tuple[int, tuple[float, bool]]]:
    """Score each distinct (context, continuation without its last token) as one row."""
    rows: dict[tuple[int, ...], list[_Continuation]] = {}
    for context, each in zip(contexts, continuations, strict=True):
        for continuation in each:
            rows.setdefault(context + continuation.tokens[:-1], []).append(continuation)
    spans = [(row, tokens, continuation) for row, tokens in enumerate(rows) for continuation in rows[tokens]]
    places = [
        (row, position)
        for row, tokens, continuation in spans
        for position in range(len(tokens) - len(continuation.tokens), len(tokens))
    ]
    targets = [token for _, _, continuation in spans for token in continuation.tokens]
    scores = iter(_score(model, padded(list(rows)), places, targets))
    return [(continuation.index, _joined(islice(scores, len(continuation.tokens)))) for _, _, continuation in spans]


@torch.inference_mode()
def _score_branching(
    model: PreTrainedModel, contexts: list[tuple[int, ...]], continuations: list[list[_Continuation]]
) -> list[tuple[int, tuple[float, bool]]]:
    """Run contexts of one length once, then all their continuations on what the model remembers of them."""
    ids = torch.tensor(contexts)
    branches = [(row, each) for row, several in enumerate(continuations) for each in several]
    memory = DynamicCache(config=model.config)
    last = [(row, ids.shape[1] - 1) for row, _ in branches]
    first = _score(model, ids, last, [each.tokens[0] for _, each in branches], memory=memory)
    scores = [[score] for score in first]
    longer = [number for number, (_, each) in enumerate(branches) if len(each.tokens) > 1]
    memory.batch_select_indices(torch.tensor([branches[number][0] for number in longer], device=model.device))
    rows = [branches[number][1].tokens for number in longer]
    places = [(row, position) for row, tokens in enumerate(rows) for position in range(len(tokens) - 1)]
    rest = iter(
        _score(
            model,
            padded([tokens[:-1] for tokens in rows]),
            places,
            [token for tokens in rows for token in tokens[1:]],
            memory=memory,
        )
    )
    for number, tokens in zip(longer, rows, strict=True):
        scores[number].extend(islice(rest, len(tokens) - 1))
    return [(each.index, _joined(found)) for (_, each), found in zip(branches, scores, strict=True)]


def _joined(scores: Iterable[tuple[float, bool]]) -> tuple[float, bool]:
    """The log-likelihood of a continuation and whether it is the greedy one, from those of its tokens."""
    likelihoods, greedy = zip(*scores, strict=True)
    return math.fsum(likelihoods), all(greedy)


def batches(rows: Sequence[Sequence[int]], *, tokens: int) -> Iterator[list[Any]]:
    """Cut rows, longest first, into batches of at most `tokens` ids with padding; a longer row goes alone."""
    start = 0
    while start < len(rows):
        count = max(tokens // len(rows[start]), 1)
        yield list(rows[start : start + count])
        start += count


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of ids as one int64 tensor [rows, longest], padded on the right with 0.

    A causal model never looks at what comes later, so padding needs no mask.
    """
    filled = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in enumerate(rows):
        filled[row, : len(tokens)] = torch.tensor(tokens)
    return filled


@torch.inference_mode()
def _score(
    model: PreTrainedModel,
    ids: Tensor,
    places: list[tuple[int, int]],
    targets: list[int],
    *,
    memory: DynamicCache | None = None,
) -> list[tuple[float, bool]]:
    """The log-likelihood of each target after its place (row, position), and whether it is the likeliest token.

    `memory` holds what came before `ids` [rows, positions], and afterwards `ids` as well.
    """
    rows, positions = torch.tensor(places).T
    kept, columns = positions.unique(return_inverse=True)
    options: dict[str, Any] = {"use_cache": memory is not None, "past_key_values": memory}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = kept.to(model.device)
    else:
        columns = positions
    logits = model(ids.to(model.device), **options).logits[rows.to(model.device), columns.to(model.device)].float()
    wanted = torch.tensor(targets, device=model.device)
    likelihoods = logits.gather(1, wanted[:, None]).squeeze(1) - logits.logsumexp(dim=1)
    return list(zip(likelihoods.tolist(), (logits.argmax(dim=1) == wanted).tolist(), strict=True))
