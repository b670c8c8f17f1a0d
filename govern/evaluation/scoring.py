"""The language model behind lm-eval: its Hugging Face model, scoring only what a question asks for.

The official tasks and their prompts stay lm-eval's. What changes is how token sequences meet the model: equal inputs
(the letters of one question) run once, batches are filled by tokens instead of rows so that long prompts fit into
memory, and the head, a fifth of a small model's work, runs only at scored positions and in float32 from there on.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

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
        inputs: dict[tuple[int, ...], list[int]] = {}
        for index, (_, context, continuation) in enumerate(requests):
            tokens = (context + continuation)[-(self.max_length + 1) :]
            inputs.setdefault(tuple(tokens[:-1]), []).append(index)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        done = 0
        for rows in batches(sorted(inputs, key=len, reverse=True), tokens=_TOKENS_PER_BATCH):
            spans = [
                (row, index, len(requests[index][2])) for row, tokens in enumerate(rows) for index in inputs[tokens]
            ]
            places = [
                (row, position)
                for row, _, length in spans
                for position in range(len(rows[row]) - length, len(rows[row]))
            ]
            targets = torch.tensor([token for _, index, _ in spans for token in requests[index][2]])
            likelihoods, greedy = _score(self.model, padded(rows), places, targets)
            start = 0
            for _, index, length in spans:
                end = start + length
                answers[index] = (float(likelihoods[start:end].sum()), bool(greedy[start:end].all()))
                start = end
            done += len(rows)
            self._progress(self.stage, done, len(inputs))
        return answers


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
    model: PreTrainedModel, ids: Tensor, places: list[tuple[int, int]], targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The log-likelihood of each target after its place (row, position), and whether it is the likeliest token."""
    rows, positions = torch.tensor(places).T
    kept, columns = positions.unique(return_inverse=True)
    options: dict[str, Any] = {"use_cache": False}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = kept.to(model.device)
    else:
        columns = positions
    logits = model(ids.to(model.device), **options).logits[rows.to(model.device), columns.to(model.device)].float()
    wanted = targets.to(model.device)
    likelihoods = logits.gather(1, wanted[:, None]).squeeze(1) - logits.logsumexp(dim=1)
    return likelihoods.cpu(), (logits.argmax(dim=1) == wanted).cpu()
