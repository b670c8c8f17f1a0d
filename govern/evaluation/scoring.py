"""The language model behind lm-eval: its Hugging Face model, scoring only what a question asks for.

The official tasks and their prompts stay lm-eval's. What changes is how token sequences meet the model: questions that
begin alike, as those with the same worked examples do, share the work on that beginning, and the choices of one
question that on the question; batches are filled by tokens instead of rows so that long prompts fit into memory; and
the head, a fifth of a small model's work, runs only at scored positions and in float32 from there on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, pairwise, starmap
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from govern.corpora import encode, encode_choices
from govern.corpora.tokenizing import alike
from govern.evaluation.positions import forget_length, keeps_few_logits, may_share, switches_at
from govern.evaluation.recount import ScoredTexts, tolerance
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
    """lm-eval's causal language model around a model in memory.

    `stage` names the work in progress reports. With `parted`, question and choice are split as lm-eval does it, which
    official tasks ask for; their texts are in `merged` where that leaves out a token over the seam. `cut` are those
    that lost their beginning because they are longer than the model's context. `kept` are the likelihoods of some
    continuations, to be recomputed.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, progress: Progress = silent):
        with _as_it_is(model):
            super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=1)
        self.stage = "answer questions"
        self.parted = False
        self.cut: set[tuple[str, str]] = set()
        self.merged: set[tuple[str, str]] = set()
        self.kept = ScoredTexts()
        self._progress = progress

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **_: Any,  # lm-eval's signature
    ) -> list[int]:
        """A text's ids; what the tokenizer puts before it is not put there twice."""
        ids = encode(string, self.tokenizer, special=self._special(string, add_special_tokens))
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Score requests, (context, continuation) each; continuations of one context are tokenised alike."""
        continuations: dict[str, list[str]] = {}
        for context, continuation in (request.args for request in requests):
            continuations.setdefault(context, []).append(continuation)
        encoded = {
            (context, choice): ids
            for context, choices in continuations.items()
            for choice, ids in zip(choices, self.encode_choices(context, choices), strict=True)
        }
        tokens = [(request.args, *encoded[request.args]) for request in requests]
        return self._loglikelihood_tokens(tokens, disable_tqdm=disable_tqdm)

    def encode_choices(self, context: str, choices: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """The ids of a context and of each continuation. A context's last spaces go to the continuation, as in lm-eval.

        Raises SourceError where the tokenizer leaves nothing of either.
        """
        begun = context.rstrip()
        moved = [context[len(begun) :] + choice for choice in choices]
        special = self._special(context, None)
        found = encode_choices(begun, moved, self.tokenizer, special=special, parted=self.parted)
        if self.parted:
            whole = encode_choices(begun, moved, self.tokenizer, special=special)
            pairs = zip(choices, found, whole, strict=True)
            self.merged.update((context, choice) for choice, (here, _), (there, _) in pairs if len(there) < len(here))
        return found

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        return self.encode_choices(context, [continuation])[0]

    def _special(self, text: str, asked: bool | None) -> bool:
        mark = self.tokenizer.bos_token or self.tokenizer.eos_token
        return asked is not False and not (mark and text.startswith(mark))

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
        placed: list[tuple[Ids, _Continuation]] = []
        alone: list[tuple[Ids, _Continuation]] = []
        limit = switches_at(self.model)
        for index, (said, context, continuation) in enumerate(requests):
            cut = tuple((context + continuation)[-(self.max_length + 1) : -len(continuation)])
            if len(cut) < len(context) and said:
                self.cut.add(said)
            each = _Continuation(index, tuple(continuation))
            placed.append((cut, each))
            if limit is not None and len(cut) + len(continuation) > limit:
                alone.append((cut, each))
            else:
                texts.setdefault(cut, []).append(each)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        done, count = 0, len(texts) + len(alone)
        for before, each in alone:
            answers[each.index] = _score_alone(self.model, before, each.tokens)
            done += 1
            self._progress(self.stage, done, count)
        shares = may_share(self.model, lambda: _sharing_differs(self.model))
        for beginning, ends in families(texts) if shares else [((), list(texts))]:
            known = remember(self.model, beginning) if beginning else None
            following = {end: texts[beginning + end] for end in ends}
            for contexts, score in _batches(following, known=len(beginning), shares=shares):
                several = [following[context] for context in contexts]
                for index, answer in score(self.model, contexts, several, known):
                    answers[index] = answer
                done += len(contexts)
                self._progress(self.stage, done, count)
        for before, each in placed:
            self.kept.take(before, each.tokens, answers[each.index][0])
        return answers


@contextmanager
def _as_it_is(model: PreTrainedModel) -> Iterator[None]:
    """lm-eval's model ties weights when it is made, by a configuration that may not be what the weights say."""
    model.tie_weights = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.tie_weights


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
    for context, common in zip(ordered, [*starmap(alike, pairwise(ordered)), 0], strict=False):
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
    return min(alike(family[0], family[-1]), len(family[0]) - 1) if len(family) > 1 else 0


@torch.inference_mode()
def remember(model: PreTrainedModel, beginning: Ids) -> DynamicCache:
    """What the model keeps of a text in order to read on, one row."""
    memory = DynamicCache(config=model.config)
    options = {"logits_to_keep": 1} if keeps_few_logits(model) else {}
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


def _score_alone(model: PreTrainedModel, context: Ids, continuation: Ids) -> tuple[float, bool]:
    """Score one continuation in a row of its own, where the places of all tokens depend on the row's length."""
    forget_length(model)
    ids = torch.tensor([context + continuation])
    places = [(0, place) for place in range(len(context) - 1, ids.shape[1] - 1)]
    scored = _joined(_score(model, ids, places, list(continuation)))
    forget_length(model)
    return scored


def _sharing_differs(model: PreTrainedModel) -> bool:
    """Whether a few continuations score otherwise where they share what the model remembers of their beginning."""
    beginning, context = (1, 2, 3, 4), (5, 6)
    several = [_Continuation(0, (7, 8)), _Continuation(1, (9, 3, 2))]
    shared = _score_branching(model, [context], [several], remember(model, beginning))
    plain = _score_straight(model, [beginning + context], [several], None)
    most = tolerance(model.dtype) * 3
    return any(abs(a - b) > most for (_, (a, _)), (_, (b, _)) in zip(sorted(shared), sorted(plain), strict=True))


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
    options: dict[str, Any] = {"use_cache": memory is not None}
    if memory is not None:
        options["past_key_values"] = memory
    if not keeps_few_logits(model):
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
