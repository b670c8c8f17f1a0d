"""A model in memory that answers a pack's questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from govern.corpora import encode, exchange
from govern.errors import GovernError
from govern.evaluation.harness import quiet
from govern.evaluation.scoring import Scorer, batches, padded
from govern.progress import Progress, silent

_SIDE_BY_SIDE = 32
_TOKENS_PER_BATCH = 1024


@dataclass(frozen=True)
class ModelReader:
    """The `Reader` of a pack. In `likelihoods` questions are put as `Question: …`, and answers follow `Answer:`."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    progress: Progress = silent

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The mean log-likelihood (nats a token, float32 log-softmax) of each answer after its question.

        The end of text counts as a token of the answer. Raises GovernError where the model's output is no number.
        """
        exchanges = [exchange(question, answer, self.tokenizer) for question, answer in pairs]
        with quiet(offline=True):
            scorer = Scorer(self.model, self.tokenizer, progress=self.progress)
            scorer.stage = "read answers"
            # the one way into lm-eval's model that takes token ids
            scored = scorer._loglikelihood_tokens([(None, list(each.prompt), list(each.answer)) for each in exchanges])
        means = [total / len(each.answer) for each, (total, _) in zip(exchanges, scored, strict=True)]
        if not all(map(math.isfinite, means)):
            raise _broken()
        return means

    def surprises(self, texts: Sequence[str], *, most: int) -> list[list[float]]:
        """The negative log-likelihood (nats, float32 log-softmax) of each token but the first of each text.

        Texts are cut to `most` tokens. Raises GovernError where the model's output is no number.
        """
        rows = [tuple(encode(text, self.tokenizer)[:most]) for text in texts]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
        found: list[list[float]] = [[] for _ in rows]
        done = 0
        for batch in batches([rows[index] for index in order], tokens=_TOKENS_PER_BATCH):
            for place, surprise in enumerate(self._surprise(batch)):
                found[order[done + place]] = surprise
            done += len(batch)
            self.progress("read texts", done, len(rows))
        if not all(math.isfinite(value) for row in found for value in row):
            raise _broken()
        return found

    @torch.inference_mode()
    def _surprise(self, rows: list[tuple[int, ...]]) -> list[list[float]]:
        ids = padded(rows).to(self.model.device)
        logits = self.model(ids, use_cache=False).logits[:, :-1].float()
        following = ids[:, 1:, None].to(logits.device)
        surprise = (logits.logsumexp(dim=2) - logits.gather(2, following).squeeze(2)).tolist()
        return [values[: len(row) - 1] for values, row in zip(surprise, rows, strict=True)]

    @torch.inference_mode()
    def continuations(self, prompts: Sequence[str], *, most: int) -> list[str]:
        """How the model goes on from each prompt, greedily, up to its end of text or `most` tokens."""
        rows = [encode(prompt, self.tokenizer) for prompt in prompts]
        model: Any = self.model
        ends = model.generation_config.eos_token_id if model.generation_config else None
        # Only what is said here holds: a model's own generation settings may sample, or punish repetition.
        greedy = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=0)
        own, model.generation_config = model.generation_config, greedy
        said = [""] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        try:
            for start in range(0, len(order), _SIDE_BY_SIDE):
                batch = order[start : start + _SIDE_BY_SIDE]
                ids, real = _padded_left([rows[index] for index in batch])
                with quiet(offline=True):
                    whole = model.generate(ids.to(model.device), attention_mask=real.to(model.device))
                for index, row in zip(batch, whole[:, ids.shape[1] :].tolist(), strict=True):
                    said[index] = self._text(row, ends)
                self.progress("let it speak", start + len(batch), len(order))
        finally:
            model.generation_config = own
        return said

    def _text(self, row: list[int], ends: int | list[int] | None) -> str:
        stops = set(ends) if isinstance(ends, list) else {ends}
        length = next((place for place, token in enumerate(row) if token in stops), len(row))
        return str(self.tokenizer.decode(row[:length], skip_special_tokens=True)).strip()


def _broken() -> GovernError:
    return GovernError(
        "the model's likelihoods are not numbers, so it is broken and no benchmark can say more",
        hint="Lower the coefficient or the learning rate and apply again.",
    )


def _padded_left(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and which of them are real, both [rows, longest], so that all rows end together."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        real[row, longest - len(tokens) :] = 1
    return ids, real
