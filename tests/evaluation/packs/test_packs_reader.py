"""The reader of packs: what it says of a model is what the model says, however the work is batched."""

from __future__ import annotations

import math

import pytest
import torch

from govern.corpora import exchange
from govern.errors import GovernError
from govern.evaluation.packs.reader import ModelReader
from govern.models import load_model, load_tokenizer

PAIRS = [("Where is it?", "In France."), ("Where is it?", "In"), ("What number has the vault, of all vaults?", "7")]


@pytest.fixture
def reader(tiny_llama):
    return ModelReader(load_model(tiny_llama, dtype=torch.float32), load_tokenizer(tiny_llama))


def surprise(reader, ids):
    with torch.inference_mode():
        logits = reader.model(torch.tensor([ids])).logits[0]
    likelihoods = torch.log_softmax(logits.float(), dim=1)
    return [-float(likelihoods[place - 1, ids[place]]) for place in range(1, len(ids))]


def test_nothing_is_said_on_the_terminal(reader, capfd, caplog):
    reader.likelihoods(PAIRS)
    reader.continuations(["The road"], most=4)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_likelihoods_are_means_over_the_answers_tokens_and_its_end(reader):
    for pair, found in zip(PAIRS, reader.likelihoods(PAIRS), strict=True):
        each = exchange(*pair, reader.tokenizer)
        ids = [*each.prompt, *each.answer]
        assert ids[-1] == reader.tokenizer.eos_token_id
        assert found == pytest.approx(-sum(surprise(reader, ids)[len(each.prompt) - 1 :]) / len(each.answer), rel=1e-4)


def test_prompts_of_several_lengths_side_by_side_are_continued_as_alone(reader):
    prompts = [f"The {'very ' * count}long road to" for count in (0, 3, 9)]
    alone = [reader.continuations([prompt], most=12)[0] for prompt in prompts]
    assert reader.continuations(prompts, most=12) == alone
    ids = reader.tokenizer(prompts[0])["input_ids"]
    for _ in range(12):
        with torch.inference_mode():
            ids = [*ids, int(reader.model(torch.tensor([ids])).logits[0, -1].argmax())]
    whole = reader.tokenizer.decode(ids, skip_special_tokens=True)
    assert whole.startswith(f"{prompts[0]}")
    assert whole[len(prompts[0]) :].strip() == alone[0]


def test_a_models_own_way_of_generating_does_not_matter_and_stays(reader):
    greedy = reader.continuations(["The road"], most=8)
    reader.model.generation_config.do_sample = True
    reader.model.generation_config.repetition_penalty = 5.0
    assert reader.continuations(["The road"], most=8) == greedy
    assert reader.model.generation_config.repetition_penalty == 5.0


def test_texts_are_read_token_by_token_and_cut(reader):
    texts = ["Gold has the symbol Au.", "Iron", "The capital of France is Paris; the capital of Japan is Tokyo."]
    found = reader.surprises(texts, most=9)
    for text, values in zip(texts, found, strict=True):
        ids = reader.tokenizer(text)["input_ids"][:9]
        assert values == pytest.approx(surprise(reader, ids), rel=1e-4)


def test_a_broken_model_is_named_as_one(reader):
    with torch.no_grad():
        reader.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(GovernError, match="not numbers"):
        reader.likelihoods(PAIRS)
    with pytest.raises(GovernError, match="not numbers"):
        reader.surprises(["one two three"], most=9)
