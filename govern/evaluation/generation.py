"""Greedy generation by a model in memory, the same for the attack that lets it speak and for what endpoints say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from govern.progress import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SIDE_BY_SIDE = 32


def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    length: int,
    *,
    stage: str,
    progress: Progress = silent,
) -> list[str]:
    """How the model goes on from each prompt (ids), greedily, for `length` tokens or up to a token that ends its text.

    Those tokens, and penalties for repetition, are what the model's generation settings name, as a server takes them.
    """
    import torch

    def width(index: int) -> int:
        return len(prompts[index])

    said: dict[int, str] = {}
    # prompts of one length together, so that nothing is padded
    for _, group in groupby(sorted(range(len(prompts)), key=width), key=width):
        equal = list(group)
        for start in range(0, len(equal), _SIDE_BY_SIDE):
            batch = equal[start : start + _SIDE_BY_SIDE]
            given = torch.tensor([list(prompts[index]) for index in batch], device=model.device)
            with torch.inference_mode():
                rows: Any = cast("Any", model).generate(
                    given,
                    attention_mask=torch.ones_like(given),
                    max_new_tokens=length,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    # what is written after a row's end, and dropped below
                    pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                )
            for index, row in zip(batch, rows[:, given.shape[1] :].tolist(), strict=True):
                said[index] = str(tokenizer.decode(_until_end(row, model), skip_special_tokens=True))
            progress(stage, len(said), len(prompts))
    return [said[index] for index in range(len(prompts))]


def _until_end(row: list[int], model: PreTrainedModel) -> list[int]:
    """The tokens before the first one that ends a text."""
    settings = model.generation_config
    ends = settings.eos_token_id if settings else None
    stops = set(ends) if isinstance(ends, list) else {ends}
    return row[: next((place for place, token in enumerate(row) if token in stops), len(row))]
