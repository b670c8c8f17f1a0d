from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_decoders import documents

from govern.corpora.tokens import TokenCorpus
from govern.errors import RemovalError
from govern.unlearning.batches import Deck, generator


def deal(corpus, *, batch_size=2, mask="default", seed="s"):
    return Deck.deal(corpus, batch_size=batch_size, mask=mask, seed=seed)


def test_padding_and_the_first_token_do_not_count():
    batch = Deck((((5, 6, 7), (8, 9)),), "default", "s").batch(0)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.counted.tolist() == [[False, True, True], [False, True, False]]


def test_under_reference_everything_counts():
    batch = Deck((((5, 6, 7), (8, 9)),), "reference", "s").batch(0)
    assert batch.counted.all()


@given(count=st.integers(1, 12), batch_size=st.integers(1, 5), seed=st.text(max_size=4))
def test_each_epoch_visits_every_document_once(count, batch_size, seed):
    corpus = documents("epochs", count=count)
    deck = deal(corpus, batch_size=batch_size, seed=seed)
    for epoch in range(3):
        visited = [deck.visit(epoch * len(deck) + place) for place in range(len(deck))]
        assert sorted(visited) == list(range(len(deck)))
        seen = [document for number in visited for document in deck.documents[number]]
        assert sorted(seen) == sorted(corpus.documents)


def test_the_order_follows_from_the_seed_alone():
    corpus = documents("order", count=40)
    first, again, other = (deal(corpus, seed=seed) for seed in ("1", "1", "2"))
    assert first == again
    assert first.documents != other.documents
    steps = range(60)
    assert [first.visit(step) for step in steps] == [again.visit(step) for step in steps]
    epochs = [[first.visit(epoch * len(first) + place) for place in range(len(first))] for epoch in range(2)]
    assert epochs[0] != epochs[1]


def test_documents_without_a_token_that_counts_are_left_out():
    corpus = TokenCorpus(((1,), (1, 5), (1,)))
    assert deal(corpus).documents == (((1, 5),),)
    with pytest.raises(RemovalError, match="two tokens"):
        deal(TokenCorpus(((1,), (1,))))
    assert len(deal(TokenCorpus(((1,), (1,))), mask="reference").documents[0]) == 2


def test_generators_of_different_purposes_differ():
    streams = [torch.rand(4, generator=generator(name)) for name in ("0/a/direction", "0/b/direction")]
    assert not torch.equal(*streams)
    assert torch.equal(streams[0], torch.rand(4, generator=generator("0/a/direction")))
