"""Greedy generation: what the model says in its own words. The words themselves leave this file only as a digest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from govern.digests import canonical_digest
from govern.progress import Progress
from govern.stress.exam import Exam
from govern.stress.protocol import Attempt, Target
from govern.stress.settings import Generation

_SIDE_BY_SIDE = 32
_NO_CHOICE = -1


def generate(settings: Generation, target: Target, exam: Exam, progress: Progress) -> Attempt:
    """Let the model go on from each question; its answer is the first choice that it names, or none."""
    model = target.load()
    prompts = [question.text.strip() for question in exam.asked]
    samples = list(continued(model, target.tokenizer, prompts, settings.max_new_tokens, progress))
    answers = exam.answered(
        [first_named(question.choices, sample) for question, sample in zip(exam.asked, samples, strict=True)]
    )
    return Attempt(
        answers=answers,
        found={
            "samples": len(samples),
            "naming_a_choice": sum(choice != _NO_CHOICE for choice in answers.chosen),
            "naming_the_answer": sum(answers.correct),
            "samples_sha256": canonical_digest(samples),
        },
    )


def first_named(choices: Sequence[str], sample: str) -> int:
    """The choice that a text names first, of two at one place the longer; -1 where it names none.

    In any case of letters, unless a choice is so short (He, In) that it would be found in ordinary words.
    """

    def place(index: int) -> tuple[int, int]:
        choice = choices[index].strip()
        flags = re.IGNORECASE if len(choice) > 3 else re.NOFLAG
        found = re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", sample, flags)
        return (found.start() if found else len(sample), -len(choice))

    best = min(range(len(choices)), key=place)
    return best if place(best)[0] < len(sample) else _NO_CHOICE


@torch.inference_mode()
def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    length: int,
    progress: Progress,
) -> Iterator[str]:
    """How the model goes on from each prompt, greedily, for `length` tokens or up to its end-of-text token."""
    ends = model.config.get_text_config(decoder=True).eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends])
    rows = [tokenizer.encode(prompt) for prompt in prompts]
    # prompts of one length together, so that nothing is padded
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    said: dict[int, str] = {}
    while order:
        width = len(rows[order[0]])
        batch = [index for index in order[:_SIDE_BY_SIDE] if len(rows[index]) == width]
        order = order[len(batch) :]
        ids = torch.tensor([rows[index] for index in batch], device=model.device)
        memory, new = None, ids
        for _ in range(length):
            step = model(new, past_key_values=memory, use_cache=True)
            memory, new = step.past_key_values, step.logits[:, -1].argmax(dim=-1, keepdim=True)
            ids = torch.cat([ids, new], dim=1)
            if all(stops & set(row) for row in ids[:, width:].tolist()):
                break
        for index, row in zip(batch, ids[:, width:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in stops), len(row))
            said[index] = str(tokenizer.decode(row[:end], skip_special_tokens=True))
        progress("let it speak", len(said), len(rows))
    return iter([said[index] for index in range(len(rows))])
