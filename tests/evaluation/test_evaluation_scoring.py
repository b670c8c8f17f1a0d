"""Parity with lm-eval's own model, and perplexity against a plain computation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from govern.corpora.tokens import TokenCorpus
from govern.errors import UsageError
from govern.evaluation.perplexity import perplexity
from govern.evaluation.scoring import Scorer, batches, families, padded
from govern.models import load_model

ids = st.lists(st.integers(2, 257), min_size=1, max_size=40)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=12))
def test_scores_are_those_of_the_stock_model(tiny_model, byte_tokenizer, pairs):
    # one context with several continuations, a second one of its length, and one that is too long for the model
    context = pairs[0][0]
    several = [(context, [9]), (context, [9, 10]), (context, [11, 12, 13])]
    another = [([*context[:-1], 30], [9, 10, 11]), ([*context[:-1], 30], [9])]
    pairs = [
        *pairs,
        *several,
        *another,
        (pairs[0][0], [*pairs[0][1][:-1], 2]),
        ([2 + place % 250 for place in range(300)], [3, 4]),
    ]
    assert_parity(tiny_model, byte_tokenizer, pairs)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gemma2", "gemma3"])
def test_every_kind_of_decoder_shares_contexts_alike(kind, tiny_checkpoint, byte_tokenizer):
    model = load_model(tiny_checkpoint(kind), dtype=torch.float32)
    vocabulary = model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)

    def draw(length):
        return torch.randint(3, vocabulary, (length,), generator=generator).tolist()

    contexts = [draw(length) for length in (30, 12, 12, 5, 30)]
    assert_parity(model, byte_tokenizer, [(context, draw(1 + each)) for context in contexts for each in range(4)])


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gemma2", "gemma3"])
def test_every_kind_of_decoder_shares_beginnings_alike(kind, tiny_checkpoint, byte_tokenizer):
    model = load_model(tiny_checkpoint(kind), dtype=torch.float32)
    vocabulary = model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)

    def draw(length):
        return torch.randint(3, vocabulary, (length,), generator=generator).tolist()

    examples = draw(150), draw(190)
    contexts = [[*examples[turn % 2], *draw(length)] for turn, length in enumerate((30, 12, 7, 5, 12, 1))]
    pairs = [(context, draw(1 + each % 3)) for context in [*contexts, draw(9)] for each in range(3)]
    runs = []
    hook = model.register_forward_pre_hook(lambda _module, args: runs.append(args[0].numel()))
    assert_parity(model, byte_tokenizer, pairs, before_stock=hook.remove)
    # each beginning was read once, the rest of its contexts without it
    assert sum(runs) < sum(map(len, contexts)) - 3 * sum(map(len, examples)) / 2


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), min_size=1, max_size=90)), max_size=12))
def test_families_keep_every_context_whole_and_once(drawn):
    contexts = {(*[9] * (70 * kind), *rest) for kind, rest in drawn}
    found = list(families(contexts))
    assert sorted(beginning + end for beginning, ends in found for end in ends) == sorted(contexts)
    assert all(end for _, ends in found for end in ends)
    assert all(len(beginning) * (len(ends) - 1) > 256 for beginning, ends in found if beginning)


def test_contexts_with_the_same_examples_are_one_family():
    examples = tuple(range(300))
    contexts = [(*examples, 7, 8), (*examples, 7, 9, 3), (*examples, 5)]
    ((beginning, ends), (nothing, alone)) = families([*contexts, (1, 2)])
    assert beginning == examples
    assert sorted(ends) == [(5,), (7, 8), (7, 9, 3)]
    assert (nothing, alone) == ((), [(1, 2)])


def test_a_short_beginning_is_shared_where_many_have_it():
    instruction = (1, 2, 3, 4, 5)
    assert list(families([(*instruction, 10 + each) for each in range(80)])) == [
        (instruction, [(10 + each,) for each in range(80)])
    ]
    few = [(*instruction, 10 + each) for each in range(40)]
    assert list(families(few)) == [((), few)]


def test_families_with_long_beginnings_are_not_merged_over_a_short_one():
    instruction = (1, 2, 3, 4, 5)
    subjects = [(*instruction, *[subject] * 100) for subject in (7, 8)]
    contexts = [(*subject, 10 + each) for subject in subjects for each in range(9)]
    assert [(beginning, len(ends)) for beginning, ends in families(contexts)] == [(each, 9) for each in subjects]


def assert_parity(model, tokenizer, pairs, *, before_stock=lambda: None):
    requests = [(("", ""), list(context), list(continuation)) for context, continuation in pairs]
    ours = Scorer(model, tokenizer)._loglikelihood_tokens(requests)
    before_stock()
    stock = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=4)
    theirs = stock._loglikelihood_tokens(requests, disable_tqdm=True)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-3, rel=1e-5)


def test_a_model_on_several_devices_is_scored_alike(tiny_model, byte_tokenizer, monkeypatch):
    # One machine without GPUs has one device; what is asked of a model on two is to be the same.
    context = "abcdefgh" * 6
    pairs = [(context[:n], choice) for n in (7, 7, 30, 47) for choice in (" A", " B", " long")]
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    whole = Scorer(tiny_model, byte_tokenizer).loglikelihood(requests)
    monkeypatch.setattr(tiny_model, "hf_device_map", {"model.layers.0": 0, "lm_head": 1}, raising=False)
    spread = Scorer(tiny_model, byte_tokenizer).loglikelihood(requests)
    assert [greedy for _, greedy in spread] == [greedy for _, greedy in whole]
    assert [score for score, _ in spread] == pytest.approx([score for score, _ in whole], abs=1e-5)


def test_progress_counts_distinct_inputs(tiny_model, byte_tokenizer):
    seen = []
    scorer = Scorer(
        tiny_model, byte_tokenizer, progress=lambda stage, done, total, **_: seen.append((stage, done, total))
    )
    scorer.stage = "answer symbols"
    scorer._loglikelihood_tokens([(("", ""), [5, 6], [letter]) for letter in (7, 8, 9)])
    assert seen == [("answer symbols", 1, 1)]


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 120))
def test_batches_keep_every_row_within_the_budget(lengths, tokens):
    rows = [[1] * length for length in sorted(lengths, reverse=True)]
    cut = list(batches(rows, tokens=tokens))
    assert [row for batch in cut for row in batch] == rows
    assert all(len(batch) == 1 or len(batch) * len(batch[0]) <= tokens for batch in cut)


def test_padding_is_on_the_right():
    assert padded([[5, 6, 7], [8]]).tolist() == [[5, 6, 7], [8, 0, 0]]


def test_perplexity_is_the_plain_sum_over_documents(tiny_model):
    generator = torch.Generator().manual_seed(0)
    lengths = (7, 30, 2, 64, 30)
    documents = tuple(tuple(torch.randint(2, 258, (length,), generator=generator).tolist()) for length in lengths)
    found = perplexity(tiny_model, TokenCorpus(documents), name="self:")
    assert found.tokens == tuple(length - 1 for length in lengths)
    for document, nll in zip(documents, found.nll, strict=True):
        tokens = torch.tensor([document])
        with torch.no_grad():
            plain = tiny_model(tokens, labels=tokens).loss
        assert nll == pytest.approx(float(plain) * (len(document) - 1), rel=1e-5)
    assert len(set(found.ids)) == len(documents)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(tiny_model):
    import copy

    uniform = copy.deepcopy(tiny_model)
    with torch.no_grad():
        uniform.lm_head.weight.zero_()
    found = perplexity(uniform, TokenCorpus(((5, 6, 7, 8),)), name="self:")
    assert math.exp(found.nll[0] / found.tokens[0]) == pytest.approx(258, rel=1e-5)


@pytest.mark.parametrize("documents", [(), ((5,),)])
def test_documents_without_a_token_to_count_are_refused(tiny_model, documents):
    with pytest.raises(UsageError, match="fewer than two tokens"):
        perplexity(tiny_model, TokenCorpus(documents), name="self:")
