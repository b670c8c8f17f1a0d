"""The language model behind lm-eval: its Hugging Face model, scoring only what a question asks for.

The official tasks and their prompts stay lm-eval's. What changes is how token sequences meet the model: questions that
begin alike, as those with the same worked examples do, share the work on that beginning, and the choices of one
question that on the question; batches are filled by tokens instead of rows so that long prompts fit into memory; and
the head, a fifth of a small model's work, runs only at scored positions and in float32 from there on.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, pairwise, starmap
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from govern.progress import Progress, silent

_TOKENS_PER_BATCH = 1024

# What is remembered of a shared beginning is copied for each row of a batch, so that is bounded as well.
_REMEMBERED_TOKENS_PER_BATCH = 16384

# Tokens that a family must spare: it has batches of its own, and each costs what some 25 tokens do (SmolLM2, one core).
_COST_OF_SHARING = 256

# Logits of a whole window are in memory at once: a vocabulary of 50,000 takes 400 MB.
_LONGEST_WINDOW = 2048

Ids = tuple[int, ...]


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

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Score whole texts as lm-eval's model does, without its bar; windows have `_LONGEST_WINDOW` tokens at most."""
        longest: int | None = self._max_length
        self._max_length: int | None = min(self.max_length, _LONGEST_WINDOW)
        try:
            read: list[float] = super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)
        finally:
            self._max_length = longest
        return read

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,  # noqa: ARG002  lm-eval's signature; progress goes to the listener
        override_bs: int | None = None,  # noqa: ARG002
    ) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each continuation given its context, and whether greedy decoding would say it.

        `requests` hold (texts, context ids, continuation ids). Too long a request loses tokens from its left.
        """
        texts: dict[Ids, list[_Continuation]] = {}
        for index, (_, context, continuation) in enumerate(requests):
            cut = tuple((context + continuation)[-(self.max_length + 1) : -len(continuation)])
            texts.setdefault(cut, []).append(_Continuation(index, tuple(continuation)))
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        done = 0
        # what a recurrent model remembers cannot be handed to several continuations
        shares = not getattr(self.model, "_is_stateful", False)
        for beginning, ends in families(texts) if shares else [((), list(texts))]:
            known = remember(self.model, beginning) if beginning else None
            following = {end: texts[beginning + end] for end in ends}
            for contexts, score in _batches(following, known=len(beginning), shares=shares):
                several = [following[context] for context in contexts]
                for index, answer in score(self.model, contexts, several, known):
                    answers[index] = answer
                done += len(contexts)
                self._progress(self.stage, done, len(texts))
        return answers


@dataclass(frozen=True)
class _Continuation:
    """A continuation to score: the index of its request, and its token ids."""

    index: int
    tokens: tuple[int, ...]


class _Score(Protocol):
    """A way to score the continuations of each of several contexts: pairs of a request's index and its answer.

    `known` is what the model remembers of the text before all of them, one row.
    """

    def __call__(
        self,
        model: PreTrainedModel,
        contexts: list[Ids],
        continuations: list[list[_Continuation]],
        known: DynamicCache | None,
    ) -> list[tuple[int, tuple[float, bool]]]: ...


def families(contexts: Iterable[Ids]) -> Iterator[tuple[Ids, list[Ids]]]:
    """Gather contexts that begin alike, each family as its shared beginning and what follows it, at least one id.

    Of all ways to divide the contexts by what they begin with, the one that reads the fewest tokens is taken; all that
    share nothing make one family. Every context is in exactly one family.
    """
    ordered = sorted(contexts)
    # sorted contexts that share a beginning lie side by side: these are the open ones, each longer than the one before
    around = [_Beginning(0)]
    alone: list[Ids] = []
    for context, common in zip(ordered, [*starmap(_common, pairwise(ordered)), 0], strict=False):
        inner = _Beginning(len(context), [context], [[context]])
        while around[-1].length > common:
            outer = around.pop()
            outer.take(inner)
            inner = outer.settled()
        if around[-1].length < common:
            around.append(_Beginning(common))
        around[-1].take(inner)
    for family in around[0].settled().families:
        shared = _shared(family)
        if shared:
            yield family[0][:shared], [each[shared:] for each in family]
        else:
            alone.extend(family)
    if alone:
        yield (), alone


@dataclass
class _Beginning:
    """What contexts side by side have in common: its length, the contexts, and the best division of them so far.

    `saved` is how many tokens that division spares.
    """

    length: int
    contexts: list[Ids] = field(default_factory=list)
    families: list[list[Ids]] = field(default_factory=list)
    saved: int = 0

    def take(self, inner: _Beginning) -> None:
        self.contexts += inner.contexts
        self.families += inner.families
        self.saved += inner.saved

    def settled(self) -> _Beginning:
        """The same with its contexts as one family, where that spares more."""
        together = _shared(self.contexts) * (len(self.contexts) - 1) - _COST_OF_SHARING
        return replace(self, families=[self.contexts], saved=together) if together > self.saved else self


def _shared(family: list[Ids]) -> int:
    """How many ids sorted contexts have in common, where each keeps one of its own; none for a single one."""
    return min(_common(family[0], family[-1]), len(family[0]) - 1) if len(family) > 1 else 0


def _common(first: Ids, second: Ids) -> int:
    """How many ids two rows have in common at their beginning."""
    return next((place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))


@torch.inference_mode()
def remember(model: PreTrainedModel, beginning: Ids) -> DynamicCache:
    """What the model keeps of a text in order to read on, one row."""
    memory = DynamicCache(config=model.config)
    options = {"logits_to_keep": 1} if _keeps_few_logits(model) else {}
    model(torch.tensor([beginning], device=model.device), past_key_values=memory, use_cache=True, **options)
    return memory


def _batches(
    texts: Mapping[Ids, list[_Continuation]], *, known: int, shares: bool
) -> Iterator[tuple[list[Ids], _Score]]:
    """Batches of contexts, longest first, each with the way to score it; `known` ids come before all of them."""
    ordered = sorted(texts, key=len, reverse=True)
    branching = [
        shares and len(texts[context]) > 1 and any(len(each.tokens) > 1 for each in texts[context])
        for context in ordered
    ]
    straight = [context for context, branches in zip(ordered, branching, strict=True) if not branches]
    for contexts in batches(straight, tokens=_TOKENS_PER_BATCH, known=known):
        yield contexts, _score_straight
    # equal lengths only: the remembered context then needs neither padding nor a mask
    for _, equal in groupby((c for c, branches in zip(ordered, branching, strict=True) if branches), key=len):
        for contexts in batches(list(equal), tokens=_TOKENS_PER_BATCH, known=known):
            yield contexts, _score_branching


def _score_straight(
    model: PreTrainedModel,
    contexts: list[Ids],
    continuations: list[list[_Continuation]],
    known: DynamicCache | None,
) -> list[tuple[int, tuple[float, bool]]]:
    """Score each distinct (context, continuation without its last token) as one row."""
    rows: dict[Ids, list[_Continuation]] = {}
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
    memory = None if known is None else _recall(known, len(rows))
    scores = iter(_score(model, padded(list(rows)), places, targets, memory=memory))
    return [(continuation.index, _joined(islice(scores, len(continuation.tokens)))) for _, _, continuation in spans]


@torch.inference_mode()
def _score_branching(
    model: PreTrainedModel,
    contexts: list[Ids],
    continuations: list[list[_Continuation]],
    known: DynamicCache | None,
) -> list[tuple[int, tuple[float, bool]]]:
    """Run contexts of one length once, then all their continuations on what the model remembers of them."""
    ids = torch.tensor(contexts)
    branches = [(row, each) for row, several in enumerate(continuations) for each in several]
    memory = DynamicCache(config=model.config) if known is None else _recall(known, len(contexts))
    last = [(row, ids.shape[1] - 1) for row, _ in branches]
    first = _score(model, ids, last, [each.tokens[0] for _, each in branches], memory=memory)
    scores = [[score] for score in first]
    longer = [number for number, (_, each) in enumerate(branches) if len(each.tokens) > 1]
    # on the CPU, because the blocks of a spread model remember on several devices
    memory.batch_select_indices(torch.tensor([branches[number][0] for number in longer]))
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


def _recall(known: DynamicCache, rows: int) -> DynamicCache:
    """What is remembered of one row, for each of several rows that go on from it."""
    memory = copy.deepcopy(known)
    memory.batch_repeat_interleave(rows)
    return memory


def _joined(scores: Iterable[tuple[float, bool]]) -> tuple[float, bool]:
    """The log-likelihood of a continuation and whether it is the greedy one, from those of its tokens."""
    likelihoods, greedy = zip(*scores, strict=True)
    return math.fsum(likelihoods), all(greedy)


def batches(rows: Sequence[Ids], *, tokens: int, known: int = 0) -> Iterator[list[Ids]]:
    """Cut rows, longest first, into batches of at most `tokens` ids with padding; a longer row goes alone.

    At most a quarter of a row is padding. Where `known` ids come before each row, there are few enough rows that what
    is remembered of those fits into memory.
    """
    start = 0
    while start < len(rows):
        longest = len(rows[start])
        most = max(min(tokens // longest, _REMEMBERED_TOKENS_PER_BATCH // (known or 1)), 1)
        count = sum(4 * len(row) >= 3 * longest for row in rows[start : start + most])
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
    if not _keeps_few_logits(model):
        columns = positions
    elif _is_spread(model):
        # a number, since no one device holds both the first block, which takes the arguments, and the head
        first = int(kept.min())
        options["logits_to_keep"], columns = ids.shape[1] - first, positions - first
    else:
        options["logits_to_keep"] = kept.to(model.device)
    logits: Tensor = model(ids.to(model.device), **options).logits
    scored = logits[rows.to(logits.device), columns.to(logits.device)].float()
    wanted = torch.tensor(targets, device=logits.device)
    likelihoods = scored.gather(1, wanted[:, None]).squeeze(1) - scored.logsumexp(dim=1)
    return list(zip(likelihoods.tolist(), (scored.argmax(dim=1) == wanted).tolist(), strict=True))


def _is_spread(model: PreTrainedModel) -> bool:
    """Whether the model's blocks lie on several devices."""
    return len(set(getattr(model, "hf_device_map", {}).values())) > 1


def _keeps_few_logits(model: PreTrainedModel) -> bool:
    """Whether the model's forward can leave the head out where it is not asked for."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters
