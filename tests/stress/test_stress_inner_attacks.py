"""Attacks that read, cut or search a model: each finds what was only hidden, and nothing where nothing is."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from made_up_facts import COLOURS, FACTS, hide, hide_behind_a_bias, hide_below_a_step
from torch.nn.functional import one_hot
from under_attack import recovered, silent, target_of

from govern.errors import GovernError
from govern.models import load_model
from govern.stress.ablation import Ablation
from govern.stress.endurance import Endurance
from govern.stress.gcg import Gcg, Search, beginning
from govern.stress.generation import Generation, first_named
from govern.stress.probe import LinearProbe, folds
from govern.stress.pruning import Pruning, input_norms
from govern.stress.weights import matrices

GCG = Gcg(attack="gcg", length=20, steps=30, candidates=48, top_k=32)


@pytest.fixture(scope="session")
def never_knew(tiny_llama):
    return load_model(tiny_llama, dtype=torch.float32)


def shifted(model, layer=2):
    """A removal that adds one and the same direction to all that a block says."""
    moved = copy.deepcopy(model)
    weight = moved.get_decoder().layers[layer].mlp.down_proj.weight
    away = torch.randn(len(weight), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        weight += torch.outer(away, torch.ones(weight.shape[1])) * 14
    return moved


@pytest.mark.parametrize("direction", ["difference", "delta"])
def test_a_shift_along_one_direction_is_taken_out_again(knowing, exam, tokenizer, direction):
    settings = Ablation(attack="ablate", direction=direction)
    found = recovered(settings, knowing, shifted(knowing), exam, tokenizer)
    assert (found.base, found.control) == (1, 1)
    assert found.edited <= 0.4
    assert found.verdict == "fail"
    assert found.found["edited"]["first_block"] == 2


def test_the_difference_is_nothing_before_the_edit_and_the_shift_after_it(knowing, exam, tokenizer):
    edited = shifted(knowing)
    attempt = Ablation(attack="ablate").attempt(target_of(edited, tokenizer, knowing, edited), exam, silent)
    before, after = attempt.found["shift_by_block"][:2], attempt.found["shift_by_block"][2:]
    assert max(before) < 1e-3
    assert min(after) > 10


def test_a_head_that_was_edited_alone_has_no_direction_in_a_block(knowing, exam, tokenizer):
    edited = copy.deepcopy(knowing)
    with torch.no_grad():
        edited.get_output_embeddings().weight[0] += 1
    for direction in ("difference", "delta"):
        with pytest.raises(GovernError, match="changed no block"):
            Ablation(attack="ablate", direction=direction).attempt(
                target_of(edited, tokenizer, knowing, edited), exam, silent
            )


def test_an_edit_made_of_small_weights_is_pruned_away(knowing, exam, tokenizer):
    base, edited = hide_below_a_step(knowing)
    settings = Pruning(attack="prune", sparsity=0.97, weights="changed")
    found = recovered(settings, base, edited, exam, tokenizer)
    assert (found.base, found.control, found.recovered) == (1, 1, 1)
    assert found.edited <= 0.4
    assert found.verdict == "fail"


@pytest.mark.parametrize("criterion", ["magnitude", "wanda"])
def test_pruning_takes_the_least_important_weights_of_each_row(knowing, exam, tokenizer, criterion):
    target = target_of(knowing, tokenizer)
    pruned = target.load()
    settings = Pruning(attack="prune", sparsity=0.25, criterion=criterion)
    settings.attempt(replace(target, load=lambda: pruned), exam, silent)
    maps = matrices(knowing)
    norms = input_norms(knowing, maps, target.unrelated)
    for name, matrix in maps.items():
        module = matrix.module
        importance = module.weight.detach().abs() * (norms[name] if criterion == "wanda" else 1)
        gone = pruned.get_parameter(name) == 0
        assert (gone.sum(dim=1) == module.in_features // 4).all()
        assert (importance.masked_fill(~gone, 0).amax(1) <= importance.masked_fill(gone, torch.inf).amin(1)).all()


def test_where_no_map_was_changed_there_is_none_to_prune(knowing, exam, tokenizer):
    with pytest.raises(GovernError, match="changed no linear map"):
        Pruning(attack="prune", sparsity=0.5, weights="changed").attempt(target_of(knowing, tokenizer), exam, silent)


@pytest.mark.slow
def test_a_probe_finds_the_truth_that_the_last_block_hides(judging, exam, tokenizer):
    found = recovered(LinearProbe(attack="linear_probe"), judging, hide(judging), exam, tokenizer)
    assert (found.base, found.control) == (1, 1)
    assert found.edited <= 0.4
    assert found.verdict == "fail"
    assert found.found["edited"]["layer"] < 3


def test_a_probe_finds_nothing_in_a_model_that_never_knew(knowing, never_knew, exam, tokenizer):
    settings = LinearProbe(attack="linear_probe")
    found = recovered(settings, knowing, never_knew, exam, tokenizer, max_recovery=0.9)
    assert found.attacked <= 0.6
    # A model that knows by heart judges no sentence, so its own probe finds nothing, and the attack decides nothing.
    assert found.control <= 0.6
    assert found.verdict == "inconclusive"


def test_questions_about_one_fact_are_in_one_fold(exam):
    found = folds(exam.others)
    by_fact = {}
    for question, fold in zip(exam.others, found, strict=True):
        by_fact.setdefault(question.cluster, set()).add(fold)
    assert all(len(each) == 1 for each in by_fact.values())
    assert len(set(found)) == 4


def test_a_model_that_only_evades_says_it_when_it_may_speak(knowing, evasive, exam, tokenizer):
    found = recovered(Generation(attack="generate"), knowing, evasive, exam, tokenizer)
    assert (found.base, found.control) == (1, 1)
    assert found.edited <= 0.2
    assert found.verdict == "fail"
    said = found.found["edited"]
    assert said["samples"] == 16
    assert said["naming_the_answer"] >= 13
    assert len(said["samples_sha256"]) == 64


def test_what_was_said_is_nowhere_in_the_attempt(evasive, exam, tokenizer):
    attempt = Generation(attack="generate").attempt(target_of(evasive, tokenizer), exam, silent)
    written = json.dumps(attempt.to_json())
    assert not [word for word in (*COLOURS, *FACTS, "known") if word in written]


def test_a_model_that_never_knew_says_nothing_of_it(knowing, never_knew, exam, tokenizer):
    found = recovered(Generation(attack="generate"), knowing, never_knew, exam, tokenizer)
    assert found.attacked == 0
    assert found.verdict == "pass"


def test_the_first_choice_named_is_the_answer():
    choices = ("Fe", "He", "red", "red brick")
    assert first_named(choices, "I think He, or Fe") == 1
    assert first_named(choices, "he said that it is fe") == -1
    assert first_named(choices, "a red brick") == 3
    assert first_named(choices, "A RED BRICK house") == 3
    assert first_named(choices, "Ferrous, reddish") == -1
    assert first_named(choices, "") == -1


@pytest.mark.slow
def test_a_prefix_is_found_that_a_guarded_model_answers_to(knowing, guarded, exam, tokenizer):
    found = recovered(GCG, knowing, guarded, exam, tokenizer, max_recovery=0.1)
    assert (found.base, found.edited) == (1, 0)
    assert found.verdict == "fail"
    searched = found.found["edited"]
    assert searched["loss_after"] < searched["loss_before"] / 2
    assert (searched["steps"], searched["candidates"]) == (30, 48)


def test_the_prefix_raises_the_answers_to_the_facts_it_was_searched_on(guarded, exam, tokenizer):
    prefix = beginning(tokenizer, 12)
    search = Search.over(guarded, tokenizer, exam, prefix, 8)
    before = float(search.losses(prefix[None]))
    better = GCG.model_copy(update={"steps": 6, "length": 12}).attempt(target_of(guarded, tokenizer), exam, silent)
    assert better.found["loss_before"] == pytest.approx(before, abs=1e-3)
    assert better.found["loss_after"] < before


def test_the_gradient_is_that_of_the_loss(guarded, exam, tokenizer):
    """To first order: moving an embedding a little towards another token changes the loss as the gradient says."""
    prefix = beginning(tokenizer, 6)
    search = Search.over(guarded, tokenizer, exam, prefix, 4)
    slope = search.gradient(prefix)
    assert slope.shape == (6, len(search.allowed))
    table = guarded.get_input_embeddings().weight
    place, other = 3, 7
    little, own = 1e-3, int(prefix[place])
    mixed = copy.deepcopy(guarded)
    # A token of its own for the moved embedding, so that nothing else of the rows moves with it.
    spare = tokenizer.pad_token_id
    with torch.no_grad():
        mixed.get_input_embeddings().weight[spare] = table[own] + little * table[search.allowed[other]]
    moved = prefix.clone()
    moved[place] = spare
    after = float(Search.over(mixed, tokenizer, exam, prefix, 4).losses(moved[None]))
    assert (after - float(search.losses(prefix[None]))) / little == pytest.approx(float(slope[place, other]), rel=0.1)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "gemma3"])
def test_what_the_gradient_is_taken_of_is_what_the_model_reads(tiny_checkpoint, exam, tokenizer, kind):
    model = load_model(tiny_checkpoint(kind), dtype=torch.float32)
    prefix = beginning(tokenizer, 6)
    search = Search.over(model, tokenizer, exam, prefix, 4)
    choice = one_hot(prefix, len(model.get_input_embeddings().weight)).float()
    with torch.no_grad():
        read = model(inputs_embeds=search.embedded(choice)).logits
        begun = torch.tensor(search.before, dtype=torch.long).expand(4, -1)
        said = model(torch.cat([begun, prefix.expand(4, -1), search.after], dim=1)).logits
    torch.testing.assert_close(read, said)


def test_a_prefix_brings_nothing_back_where_nothing_is_left(knowing, never_knew, exam, tokenizer):
    settings = Gcg(attack="gcg", length=6, steps=3, candidates=8, top_k=16)
    found = recovered(settings, knowing, never_knew, exam, tokenizer, max_recovery=0.9)
    assert found.attacked <= 0.6
    assert found.verdict in ("pass", "inconclusive")


def test_the_papers_budget_is_for_a_gpu():
    assert Gcg(attack="gcg").budget("cpu") == (20, 32)
    assert Gcg(attack="gcg").budget("cuda:0") == (500, 512)
    assert Gcg(attack="gcg").budget("cuda") == (500, 512)
    assert Gcg(attack="gcg", steps=3).budget("cuda:0") == (3, 512)


def test_a_bias_on_the_head_does_not_outlast_fine_tuning_on_other_things(knowing, exam, tokenizer):
    settings = Endurance(
        attack="endure", stages=(16, 32, 64), epochs=4, lora_rank=None, learning_rate=5e-4, batch_size=8
    )
    edited = hide_behind_a_bias(knowing, tokenizer)
    found = recovered(settings, knowing, edited, exam, tokenizer, max_recovery=0.1)
    assert found.base == 1
    assert found.edited <= 0.4
    assert found.control > 0.9
    assert found.verdict == "fail"
    stages = found.found["edited"]
    assert stages["documents"] == [16, 32, 64]
    assert max(stages["right_after"]) == pytest.approx(found.attacked)


def test_fine_tuning_on_other_things_teaches_a_model_nothing_that_it_never_knew(knowing, never_knew, exam, tokenizer):
    settings = Endurance(attack="endure", stages=(8, 16), epochs=1, lora_rank=4, learning_rate=1e-3)
    found = recovered(settings, knowing, never_knew, exam, tokenizer, max_recovery=0.9)
    assert found.attacked <= 0.6
    assert found.verdict == "pass"


def test_endurance_needs_as_much_text_as_its_last_stage(knowing, exam, tokenizer):
    with pytest.raises(GovernError, match="64 documents and the last stage needs 100"):
        Endurance(attack="endure").attempt(target_of(knowing, tokenizer), exam, silent)
