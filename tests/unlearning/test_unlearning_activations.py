from __future__ import annotations

import pytest
import torch
from tiny_decoders import CONFIGS, LAYERS, documents

from govern.errors import RemovalError
from govern.models import load_model
from govern.unlearning.activations import Window, block_output, find_blocks
from govern.unlearning.batches import Deck


def deal(name="text", **shape):
    return Deck.deal(documents(name, count=3, **shape), batch_size=3, mask="default", seed=name)


def load(tiny, architecture, layers=None):
    return load_model(tiny(architecture), dtype=torch.float32, layers=layers).eval()


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 3)])
def test_the_window_says_what_the_whole_model_says(tiny, architecture, first, last):
    whole = load(tiny, architecture)
    short = load(tiny, architecture, layers=last + 1)
    batch = deal().batch(0)
    h = block_output(whole, last, batch)
    window = Window(short, first=first, last=last)
    replayed = window.replay(window.enter(batch))
    real = batch.attention_mask.bool()
    assert replayed.shape == (*batch.input_ids.shape, whole.config.hidden_size)
    torch.testing.assert_close(replayed[real], h[real], rtol=1e-5, atol=1e-6)


def test_the_documents_are_longer_than_the_sliding_windows():
    """Else the test above would not see a mask that belongs to another layer."""
    assert deal().batch(0).input_ids.shape[1] > 4


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt_neox"])
def test_padding_changes_nothing_for_the_tokens_that_count(tiny, architecture):
    window = Window(load(tiny, architecture), first=1, last=2)
    deck = deal(shortest=4, longest=12)
    together = deck.batch(0)
    h = window.replay(window.enter(together))
    assert not together.attention_mask.bool().all()
    for row, document in enumerate(deck.documents[0]):
        alone = Deck(((document,),), "default", "alone").batch(0)
        own = window.replay(window.enter(alone))
        torch.testing.assert_close(h[row][together.counted[row]], own[0][alone.counted[0]], rtol=1e-5, atol=1e-5)


def test_nothing_above_the_block_and_nothing_of_the_window_is_computed_on_entering(tiny):
    model = load(tiny, "llama")
    ran = []
    for number, block in enumerate(find_blocks(model)):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    batch = deal().batch(0)
    window = Window(model, first=1, last=2)
    entry = window.enter(batch)
    assert ran == [0]
    window.replay(entry)
    assert ran == [0, 1, 2]
    block_output(model, 1, batch)
    assert ran == [0, 1, 2, 0, 1]
    assert not entry.hidden.requires_grad


def test_other_weights_are_used_for_one_replay_only(tiny):
    model = load(tiny, "llama")
    window = Window(model, first=1, last=2)
    entry = window.enter(deal().batch(0))
    own = window.replay(entry)
    weight = find_blocks(model)[2].mlp.down_proj.weight
    other = window.replay(entry, {"1.mlp.down_proj.weight": torch.zeros_like(weight)})
    assert not torch.allclose(own, other)
    assert torch.equal(window.replay(entry), own)
    with torch.no_grad():
        weight.zero_()
    torch.testing.assert_close(window.replay(entry), other)


def test_the_model_is_whole_again_after_entering(tiny):
    model = load(tiny, "llama")
    batch = deal().batch(0)
    before = model(input_ids=batch.input_ids)[0]
    Window(model, first=0, last=LAYERS - 1).enter(batch)
    assert torch.equal(model(input_ids=batch.input_ids)[0], before)


def test_the_memory_of_an_entry_counts_each_storage_once(tiny):
    window = Window(load(tiny, "llama"), first=0, last=3)
    entry = window.enter(deal().batch(0))
    assert entry.nbytes >= entry.hidden.nbytes
    assert entry.nbytes < 3 * entry.hidden.nbytes


def test_a_model_without_one_list_of_blocks_is_refused(tiny):
    model = load(tiny, "llama")
    model.get_decoder().more = torch.nn.ModuleList(find_blocks(model))
    with pytest.raises(RemovalError, match="no single list of decoder blocks"):
        find_blocks(model)
