"""Text sampled from the model itself."""

from __future__ import annotations

import pytest
import torch

from govern.corpora import sample_from_model
from govern.corpora.sampling import _until, choose
from govern.models import load_tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_same_seed_says_the_same_and_another_does_not(tiny_llama, cache) -> None:
    first = sample_from_model(tiny_llama, documents=5, max_tokens=12, seed=3)
    kept = list((cache / "self").iterdir())
    assert len(kept) == 1
    kept[0].unlink()
    assert sample_from_model(tiny_llama, documents=5, max_tokens=12, seed=3) == first
    assert sample_from_model(tiny_llama, documents=5, max_tokens=12, seed=4) != first
    bos = load_tokenizer(tiny_llama).bos_token_id
    assert all(document[0] == bos and 2 <= len(document) <= 12 for document in first.documents)


def test_a_kept_sample_is_used_and_a_damaged_one_is_not(tiny_llama, cache) -> None:
    steps = []

    def listen(stage, done, total, **values):
        steps.append((done, total))

    first = sample_from_model(tiny_llama, documents=3, max_tokens=8, seed=0, progress=listen)
    assert steps[-1] == (24, 24)
    assert steps == sorted(steps)
    steps.clear()
    assert sample_from_model(tiny_llama, documents=3, max_tokens=8, seed=0, progress=listen) == first
    assert not steps
    (kept,) = (cache / "self").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert sample_from_model(tiny_llama, documents=3, max_tokens=8, seed=0, progress=listen) == first
    assert steps


def test_cached_keys_and_values_do_not_change_the_distribution(tiny_llama) -> None:
    """Each token is the one that the whole forward's distribution gives for the same random number."""
    from govern.models import load_model

    corpus = sample_from_model(tiny_llama, documents=4, max_tokens=10, seed=1)
    model = load_model(tiny_llama, dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    places = torch.stack([torch.rand(4, 1, generator=generator, dtype=torch.float64) for _ in range(9)], dim=1)
    for row, document in enumerate(corpus.documents):
        with torch.no_grad():
            chances = model(torch.tensor([document])).logits[0].softmax(-1).double().cumsum(-1)
        for position in range(1, len(document)):
            below = chances[position - 1, document[position] - 1] if document[position] else 0.0
            assert below - 1e-5 <= places[row, position - 1] <= chances[position - 1, document[position]] + 1e-5


def test_tokens_are_drawn_in_proportion() -> None:
    chances = torch.tensor([0.5, 0.0, 0.3, 0.2])
    drawn = choose(chances.log().repeat(20_000, 1), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert shares[1] == 0
    torch.testing.assert_close(shares, chances, atol=0.015, rtol=0)  # four standard errors


def test_a_document_ends_where_the_model_ends_it() -> None:
    assert _until([2], [1, 5, 2, 7]) == (1, 5)
    assert _until([1, 2], [1, 5, 6]) == (1, 5, 6)
    assert _until([None], [1, 5]) == (1, 5)
