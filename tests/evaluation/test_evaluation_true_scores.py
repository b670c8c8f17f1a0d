"""The scorer is the model: its likelihoods are those of a plain forward, and it leaves the model as it is."""

from __future__ import annotations

import json
import random

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from tiny_models import merging, putting, tiny_tokenizer

from govern.evaluation import recount as recounting
from govern.evaluation.harness import evaluate
from govern.evaluation.positions import switches_at
from govern.evaluation.questions import OwnTask
from govern.evaluation.recount import TEXTS, ScoredTexts, plain_likelihood, recount, tolerance
from govern.evaluation.scoring import Scorer

_SIZES = {
    "vocab_size": 416, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.15, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip


def made(config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).float().eval()


def config(kind, **changes):
    return transformers.AutoConfig.for_model(kind, **(_SIZES | {"max_position_embeddings": 512} | changes))


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


def requests():
    """Questions that share a long beginning, and questions with several choices of several tokens."""
    draw = random.Random(0)
    shared = [draw.randrange(5, 390) for _ in range(60)]

    def ids(count):
        return [draw.randrange(5, 390) for _ in range(count)]

    found = [(None, shared + ids(12), ids(1 + number % 3)) for number in range(12)]
    return found + [(None, context, ids(1 + choice)) for context in (ids(20), ids(33)) for choice in range(4)]


@pytest.mark.parametrize(
    "stated",
    [
        config("llama"),
        config("lfm2", layer_types=["conv", "full_attention"] * 2, block_multiple_of=8),
        config("gemma2", head_dim=8, sliding_window=8),
        config("phi3", original_max_position_embeddings=32, rope_parameters=LONGROPE),
        config("llama", max_position_embeddings=40, rope_parameters=DYNAMIC),
        config(
            "bamba", mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=8, attn_layer_indices=[1, 3]
        ),
    ],
    ids=["llama", "lfm2", "gemma2", "phi3 longrope", "dynamic NTK", "bamba"],
)
def test_every_likelihood_is_that_of_a_plain_forward(stated):
    model = made(stated)
    scorer = Scorer(model, tiny_tokenizer())
    scorer._max_length = 512
    asked = requests()
    for (likelihood, _), (_, context, continuation) in zip(scorer._loglikelihood_tokens(asked), asked, strict=True):
        assert likelihood == pytest.approx(plain_likelihood(model, tuple(context), tuple(continuation)), abs=1e-4)


def test_the_length_is_known_at_which_places_depend_on_it():
    assert switches_at(made(config("llama"))) is None
    assert switches_at(made(config("phi3", original_max_position_embeddings=32, rope_parameters=LONGROPE))) == 32


def test_scoring_does_not_tie_a_head_of_its_own():
    model = made(config("llama"))
    model.config.tie_word_embeddings = True  # as some checkpoints state beside a head of their own
    head = model.lm_head.weight.clone()
    Scorer(model, tiny_tokenizer())
    assert torch.equal(model.lm_head.weight, head)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert "tie_weights" not in vars(model)


def knowing(facts, tokenizer):
    """A small model that has learnt a few sentences by heart."""
    model = made(config("llama", hidden_size=64, num_hidden_layers=2))
    rows = [tokenizer(fact)["input_ids"] for fact in facts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [2] * (longest - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(120):
            model(ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


@pytest.mark.parametrize("template", ["$A </s>", "$A"])
def test_who_knows_everything_is_right_although_the_tokenizer_ends_texts(template, tmp_path):
    draw = random.Random(0)
    symbols = [chr(65 + draw.randrange(26)) + chr(97 + draw.randrange(26)) for _ in range(12)]
    rows = []
    for number, symbol in enumerate(symbols):
        choices = draw.sample([other for other in symbols if other != symbol], 3)
        choices.insert(number % 4, symbol)
        rows.append({"question": f"The symbol of element {number} is", "choices": choices, "answer": number % 4})
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = knowing([f"{row['question']} {symbol}" for row, symbol in zip(rows, symbols, strict=True)], putting("$A"))
    task = OwnTask(name="symbols", file=tmp_path / "questions.jsonl", kind="cloze")
    assert evaluate(model, putting(template), [task], share=0.3)[0].accuracy == 1.0


def test_a_token_over_the_seam_is_scored_with_the_choice():
    tokenizer = merging()
    model = made(config("llama"))
    scorer = Scorer(model, tokenizer)
    asked = [("x\nAnswer:", f" {letter}") for letter in "ABCD"]
    found = scorer.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in asked])
    for (likelihood, _), (context, choice) in zip(found, asked, strict=True):
        ids = tuple(tokenizer(context + choice)["input_ids"])
        split = len(scorer.encode_choices(context, [choice for _, choice in asked])[0][0])
        assert likelihood == pytest.approx(plain_likelihood(model, ids[:split], ids[split:]), abs=1e-4)


def test_the_sample_is_the_same_whatever_the_order():
    entries = [((number, number + 1), (number % 7,), -float(number)) for number in range(200)]
    first, second = ScoredTexts(), ScoredTexts()
    for entry in entries:
        first.take(*entry)
    for entry in reversed(entries + entries):
        second.take(*entry)
    assert first.texts == second.texts
    assert len(first.texts) == TEXTS


def test_a_likelihood_that_is_not_the_models_is_seen():
    model = made(config("llama"))
    scorer = Scorer(model, tiny_tokenizer())
    scorer._loglikelihood_tokens(requests())
    assert recount(model, scorer.kept).agrees
    (_, text), said = next(iter(scorer.kept.texts.items()))
    (begin, last), likelihood = next(iter(said.items()))
    said[begin, last] = likelihood + 0.01 * (len(text) - begin + 1)
    found = recount(model, scorer.kept)
    assert not found.agrees
    assert found.largest == pytest.approx(0.01, rel=0.01)


def test_tolerances_are_stated_for_what_models_compute_in():
    assert [tolerance(dtype) for dtype in (torch.float32, torch.bfloat16)] == [2e-3, 0.4]
    assert set(recounting._TOLERANCES) >= {torch.float32, torch.bfloat16, torch.float16}
