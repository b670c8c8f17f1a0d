"""Greedy generation, against a plain loop over the model."""

import copy

import torch

from govern.evaluation.generation import continued


def plain(model, tokenizer, prompt, length, stops):
    ids = list(prompt)
    for _ in range(length):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in stops:
            ids.pop()
            break
    return tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)


def test_it_says_what_the_likeliest_tokens_say_up_to_the_first_that_ends_a_text(tiny_model, byte_tokenizer):
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(2, 258, (length,), generator=generator).tolist() for length in (5, 9, 5, 3)]
    model = copy.deepcopy(tiny_model)
    model.generation_config.eos_token_id = None
    free = [plain(model, byte_tokenizer, prompt, 12, ()) for prompt in prompts]
    assert continued(model, byte_tokenizer, prompts, 12, stage="say") == free
    with torch.no_grad():
        first = int(model(torch.tensor([prompts[0]])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [1, first]
    stopped = continued(model, byte_tokenizer, prompts, 12, stage="say")
    assert stopped == [plain(model, byte_tokenizer, prompt, 12, (1, first)) for prompt in prompts]
    assert stopped[0] == ""


def test_progress_counts_prompts(tiny_model, byte_tokenizer):
    seen = []
    continued(tiny_model, byte_tokenizer, [[5], [6, 7], [8]], 2, stage="say", progress=lambda *told: seen.append(told))
    assert seen == [("say", 2, 3), ("say", 3, 3)]
