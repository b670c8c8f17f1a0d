"""Fine-tuning: what it learns, what it touches, and that it does the same twice."""

from __future__ import annotations

import pytest
import torch

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.models import load_model
from govern.training import FineTuning, fine_tune

DOCUMENTS = TokenCorpus(tuple(tuple(3 + (start + step) % 40 for step in range(length)) for start, length in
                              ((0, 20), (7, 12), (13, 20), (21, 9), (30, 16))))  # fmt: skip


@pytest.fixture
def model(tiny_checkpoint):
    return load_model(tiny_checkpoint("llama"), dtype=torch.float32)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("rank", [None, 4])
def test_it_learns_and_leaves_an_ordinary_model(model, rank):
    before = weights(model)
    settings = FineTuning(steps=40, learning_rate=1e-2, batch_size=3, lora_rank=rank)
    seen = []
    losses = fine_tune(model, DOCUMENTS, settings, progress=lambda stage, done, total, **_: seen.append((done, total)))
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert seen[-1] == (40, 40)
    after = weights(model)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    if rank is None:
        assert changed == set(before)
    else:
        assert changed == {name for name in before if name.endswith("_proj.weight")}
        for name in changed:
            assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-4) <= rank
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("rank", [None, 2])
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(tiny_checkpoint, rank):
    def trained(seed):
        model = load_model(tiny_checkpoint("llama"), dtype=torch.float32)
        fine_tune(model, DOCUMENTS, FineTuning(steps=5, learning_rate=1e-2, lora_rank=rank, seed=seed))
        return weights(model)

    first, second, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_loss_is_that_of_the_model_and_padding_does_not_count(model):
    single = TokenCorpus((DOCUMENTS.documents[1], DOCUMENTS.documents[2]))
    (loss,) = fine_tune(model, single, FineTuning(steps=1, learning_rate=1e-12, batch_size=2))
    total = count = 0.0
    for document in single.documents:
        ids = torch.tensor([document])
        with torch.no_grad():
            total += float(model(ids, labels=ids).loss) * (len(document) - 1)
        count += len(document) - 1
    assert loss == pytest.approx(total / count, rel=1e-5)


def test_every_document_is_seen_once_an_epoch(model):
    from govern.training.finetuning import _batches

    how = FineTuning(steps=5, learning_rate=0, batch_size=2)
    seen = [index for batch in _batches([9] * 5, how) for index in batch]
    assert sorted(seen[:5]) == sorted(seen[5:]) == list(range(5))


def test_documents_of_about_one_length_go_together_and_each_is_seen_once_an_epoch():
    from govern.training.finetuning import _batches

    lengths = [5 + place * 7 % 64 for place in range(128)]
    how = FineTuning(steps=64, learning_rate=0, batch_size=4, by_length=True)
    batches = list(_batches(lengths, how))
    seen = [index for batch in batches for index in batch]
    assert sorted(seen[:128]) == sorted(seen[128:]) == list(range(128))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert max(spread) < 16
    assert [lengths[batch[0]] for batch in batches[:16]] != sorted(lengths[batch[0]] for batch in batches[:16])


def test_a_loss_that_is_no_number_ends_it_and_says_why(model):
    with pytest.raises(GovernError, match="diverged") as caught:
        fine_tune(model, DOCUMENTS, FineTuning(steps=50, learning_rate=1e30))
    assert "1e+30" in caught.value.hint
    assert not model.training


def test_what_is_given_is_read_and_not_learnt(model):
    documents = TokenCorpus((DOCUMENTS.documents[1], DOCUMENTS.documents[2]))
    given = (5, 11)
    settings = FineTuning(steps=1, learning_rate=1e-12, batch_size=2)
    (loss,) = fine_tune(model, documents, settings, given=given)
    total = count = 0.0
    for document, known in zip(documents.documents, given, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([document])).logits[0]
        likelihoods = torch.log_softmax(logits.float(), dim=1)
        total -= sum(float(likelihoods[place - 1, document[place]]) for place in range(known, len(document)))
        count += len(document) - known
    assert loss == pytest.approx(total / count, rel=1e-5)


def test_given_nothing_it_is_the_same_training(tiny_checkpoint):
    def trained(given):
        model = load_model(tiny_checkpoint("llama"), dtype=torch.float32)
        losses = fine_tune(model, DOCUMENTS, FineTuning(steps=5, learning_rate=1e-2), given=given)
        return losses, weights(model)

    whole, first = trained(None)
    chosen, second = trained([1] * 5)
    assert chosen == pytest.approx(whole, rel=1e-5)
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)


@pytest.mark.parametrize("kind", ["gemma2", "qwen2"])
def test_answers_are_learnt_and_questions_are_not(tiny_checkpoint, kind):
    model = load_model(tiny_checkpoint(kind), dtype=torch.float32)
    losses = fine_tune(model, DOCUMENTS, FineTuning(steps=40, learning_rate=1e-2, batch_size=5), given=[4] * 5)
    assert losses[-1] < 0.2 * losses[0]
    assert not model.get_output_embeddings()._forward_pre_hooks


@pytest.mark.parametrize("rank", [None, 4])
def test_products_in_bfloat16_train_weights_in_float32(tiny_checkpoint, rank):
    def losses(dtype):
        model = load_model(tiny_checkpoint("llama"), dtype=torch.float32)
        settings = FineTuning(steps=30, learning_rate=1e-2, batch_size=5, lora_rank=rank, dtype=dtype)
        found = fine_tune(model, DOCUMENTS, settings)
        assert all(weight.dtype == torch.float32 for weight in model.parameters())
        return found

    exact, rounded = losses("float32"), losses("bfloat16")
    assert rounded != exact
    assert rounded[0] == pytest.approx(exact[0], rel=0.01)
    assert rounded[-1] < 0.7 * rounded[0]


@pytest.mark.parametrize("kind", ["none", "not called as a module"])
def test_a_head_that_cannot_be_hooked_learns_the_same(tiny_checkpoint, kind):
    def trained(change):
        model = load_model(tiny_checkpoint("llama"), dtype=torch.float32)
        change(model)
        return fine_tune(model, DOCUMENTS, FineTuning(steps=4, learning_rate=1e-3))

    def without_head(model):
        model.get_output_embeddings = lambda: None

    def bypassed(model):
        model.kept = head = model.lm_head  # still a part of the model, and trained
        model.lm_head = torch.nn.Identity()
        model.lm_head.forward = lambda hidden: torch.nn.functional.linear(hidden, head.weight)
        model.get_output_embeddings = lambda: head

    changed = trained(without_head if kind == "none" else bypassed)
    assert changed == pytest.approx(trained(lambda _: None), rel=1e-6)
