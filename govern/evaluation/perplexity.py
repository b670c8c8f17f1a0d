"""Perplexity on token ids: how surprised a model is at text, document by document."""

from __future__ import annotations

import hashlib
import math
import struct

import torch
from transformers import PreTrainedModel

from govern.corpora.tokens import TokenCorpus
from govern.errors import GovernError, UsageError
from govern.evaluation.answers import Perplexity
from govern.evaluation.scoring import batches, padded
from govern.progress import Progress, silent

_TOKENS_PER_BATCH = 1024


@torch.inference_mode()
def perplexity(model: PreTrainedModel, corpus: TokenCorpus, *, name: str, progress: Progress = silent) -> Perplexity:
    """The summed negative log-likelihood (nats, float32 log-softmax) of each document's tokens but the first.

    The first token only conditions the others. The documents keep the corpus's order; their ids are the first 16 hex
    characters of the SHA-256 over their token ids. Raises UsageError for a document without a token to count.
    """
    documents = corpus.documents
    if not documents or min(map(len, documents)) < 2:
        raise UsageError(
            f"the perplexity text {name} holds a document of fewer than two tokens",
            hint="Each document needs a token to start from and one to predict.",
        )
    model.train(False)
    order = sorted(range(len(documents)), key=lambda index: len(documents[index]), reverse=True)
    nll = [0.0] * len(documents)
    done = 0
    for rows in batches([documents[index] for index in order], tokens=_TOKENS_PER_BATCH):
        ids = padded(rows).to(model.device)
        logits = model(ids, use_cache=False).logits[:, :-1].float()
        following = ids[:, 1:, None].to(logits.device)
        likelihoods = (logits.gather(2, following).squeeze(2) - logits.logsumexp(dim=2)).cpu()
        for row, tokens in enumerate(rows):
            nll[order[done + row]] = -float(likelihoods[row, : len(tokens) - 1].double().sum())
        done += len(rows)
        progress(f"perplexity of {name}", done, len(documents))
    if not all(map(math.isfinite, nll)):
        raise GovernError(
            "the model's likelihoods are not numbers, so it is broken and its perplexity has no value",
            where=name,
            hint="Lower the coefficient or the learning rate and apply again.",
        )
    return Perplexity(
        task=name,
        ids=tuple(_document_id(tokens) for tokens in documents),
        nll=tuple(nll),
        tokens=tuple(len(tokens) - 1 for tokens in documents),
    )


def _document_id(tokens: tuple[int, ...]) -> str:
    return hashlib.sha256(struct.pack(f"<{len(tokens)}I", *tokens)).hexdigest()[:16]
