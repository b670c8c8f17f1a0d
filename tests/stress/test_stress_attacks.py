"""Every attack finds what a removal only hid, and brings nothing back from a model that never knew."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from made_up_facts import hide, hide_behind_a_bias, hide_below_a_step
from under_attack import recovered, silent, target_of

from govern.corpora import TokenCorpus, tokenize
from govern.errors import GovernError
from govern.models import load_model
from govern.stress.formats import Format
from govern.stress.logit_lens import LogitLens, _Texts, read_layers
from govern.stress.quantisation import Quantisation
from govern.stress.registry import STANDARD, expand
from govern.stress.relearning import Relearning, attackers_text
from govern.stress.weights import matrices


def test_the_model_knows_and_can_be_made_to_seem_ignorant(knowing, exam, tokenizer):
    assert exam.ask(knowing, tokenizer).accuracy == 1
    assert exam.ask(hide(knowing), tokenizer).accuracy <= 0.4


def test_relearning_other_facts_brings_hidden_ones_back(knowing, exam, tokenizer):
    """A removal that is a bias on the output head."""
    edited = hide_behind_a_bias(knowing, tokenizer)
    settings = Relearning(
        attack="relearn", text="related", documents=16, epochs=16, batch_size=8, lora_rank=None, learning_rate=1e-3
    )
    found = recovered(settings, knowing, edited, exam, tokenizer, max_recovery=0.1)
    assert found.base == 1
    assert found.edited <= 0.4
    assert found.control > 0.9
    assert found.recovered > 0.5
    assert found.verdict == "fail"
    assert found.found["edited"].items() >= {"documents": 16, "steps": 32, "coverage": 1.0}.items()
    assert found.found["base"]["loss_after"] < found.found["base"]["loss_before"]


def test_relearning_brings_nothing_back_where_nothing_is_left(knowing, exam, tokenizer, tiny_llama):
    never_knew = load_model(tiny_llama, dtype=torch.float32)
    settings = Relearning(attack="relearn", text="unrelated", documents=2, epochs=8, lora_rank=4, learning_rate=1e-3)
    found = recovered(settings, knowing, never_knew, exam, tokenizer, max_recovery=0.9)
    assert found.recovered < 0.4
    assert found.verdict in ("pass", "inconclusive")


def test_an_attacker_never_reads_of_the_facts_that_are_asked_about(exam, tokenizer, knowing):
    target = target_of(knowing, tokenizer)
    asked = {question.cluster for question in exam.asked}
    for text in ("facts", "related"):
        settings = Relearning(attack="relearn", text=text, documents=1000)
        corpus = attackers_text(settings, target, exam)
        said = [tokenizer.decode(list(document)) for document in corpus.documents]
        assert len(said) >= len(exam.others)
        assert not [text for text in said for fact in asked if f"{fact} " in text or text.endswith(f"{fact}.")]
    few = attackers_text(Relearning(attack="relearn", text="facts", documents=3), target, exam)
    assert len(few.documents) == 3


def test_no_related_text_without_the_facts_is_said(exam, tokenizer, knowing):
    asked = exam.asked[0]
    only = tokenize([f"The colour of {asked.cluster} is red."], tokenizer, max_tokens=64)
    target = replace(target_of(knowing, tokenizer), related=only)
    with pytest.raises(GovernError, match="names a fact that is asked about"):
        attackers_text(Relearning(attack="relearn", text="related"), target, exam)


@pytest.mark.parametrize(
    ("quantiser", "bits"),
    [
        ("nearest", 4),
        ("nearest", 8),
        ("hqq", 4),
        pytest.param("quanto", 4, marks=pytest.mark.slow),  # compiles its kernels once a machine: a minute
        ("quanto", 8),
    ],
)
def test_quantisation_rounds_every_linear_map_but_the_head(knowing, exam, tokenizer, quantiser, bits):
    target = target_of(knowing, tokenizer)
    after = target.load()
    attack = Quantisation(attack="quantise", bits=bits, quantiser=quantiser)
    attack.attempt(replace(target, load=lambda: after), exam, silent)
    before = matrices(knowing)
    assert len(before) == 28
    for name, matrix in before.items():
        module, rounded = matrix.module, after.get_parameter(name).detach()
        group = rounded[0, :32]
        assert len(group.unique()) <= 2**bits
        assert rounded.dtype == module.weight.dtype
        error = float((rounded - module.weight.detach()).norm() / module.weight.detach().norm())
        assert 0 < error < (0.2 if bits == 4 else 0.02)
    assert torch.equal(after.get_output_embeddings().weight, knowing.get_output_embeddings().weight)


def test_bitsandbytes_asks_for_a_gpu_and_a_missing_quantiser_for_its_extra(knowing, exam, tokenizer, monkeypatch):
    target = target_of(knowing, tokenizer)
    with pytest.raises(GovernError, match="CUDA"):
        Quantisation(attack="quantise", bits=4, quantiser="bitsandbytes").attempt(target, exam, silent)
    monkeypatch.setitem(sys.modules, "optimum.quanto", None)
    with pytest.raises(GovernError, match="optimum-quanto is not installed") as caught:
        Quantisation(attack="quantise", bits=4, quantiser="quanto").attempt(target, exam, silent)
    assert "govern-unlearning[quanto]" in str(caught.value)


def test_an_edit_below_a_rounding_step_rounds_away(knowing, exam, tokenizer):
    base, edited = hide_below_a_step(knowing)
    found = recovered(Quantisation(attack="quantise", bits=4), base, edited, exam, tokenizer)
    assert found.base == 1
    assert found.edited <= 0.4
    assert found.recovered > 0.8
    assert found.verdict == "fail"
    assert found.control > 0.9


def test_the_logit_lens_reads_what_the_last_block_hides(knowing, exam, tokenizer):
    inner = read_layers(knowing, tokenizer, "cloze", exam.asked, lambda *_: None)[-2]
    knows = sum(choice == each.answer for choice, each in zip(inner, exam.asked, strict=True))
    found = recovered(LogitLens(attack="logit_lens"), knowing, hide(knowing), exam, tokenizer)
    assert found.attacked >= knows / len(exam.asked) - 0.2
    assert found.attacked > found.edited + 0.2


def test_the_lens_sums_what_each_choice_continues_whatever_texts_have_in_common(knowing, exam, tokenizer):
    choices = (" it", " item", " was late", " it was late")
    questions = [replace(exam.asked[0], text=text, choices=choices) for text in ("The train", "The train it", "A day")]
    together = read_layers(knowing, tokenizer, "cloze", questions, silent)
    for number, question in enumerate(questions):
        alone = read_layers(knowing, tokenizer, "cloze", [question], silent)
        assert [layer[number] for layer in together] == [layer[0] for layer in alone]
    assert read_layers(knowing, tokenizer, "cloze", questions, silent, layer=1) == [together[1]]

    pairs = [
        (list(b"ab"), list(b"cd")),
        (list(b"abc"), list(b"d")),
        (list(b"a"), list(b"b")),
        (list(b"ab"), list(b"c")),
    ]
    logits_of = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    texts = _Texts.of(pairs)
    # one place for each of "a", "ab" and "abc"; here its logits follow from how much was read
    places = [texts.rows[row][: position + 1] for row, position in zip(*texts.places, strict=True)]
    assert sorted(map(bytes, places)) == [b"a", b"ab", b"abc"]
    found = texts.totals(torch.stack([logits_of[len(place)] for place in places]))
    scores = logits_of.log_softmax(1)
    b, c, d = scores[1, ord("b")], scores[2, ord("c")], scores[3, ord("d")]
    assert found.tolist() == pytest.approx([float(each) for each in (c + d, d, b, c)], rel=1e-5)


def test_the_lens_over_the_last_block_is_the_model_itself(knowing, exam, tokenizer):
    last = read_layers(knowing, tokenizer, "cloze", exam.asked, lambda *_: None)[-1]
    assert tuple(last) == exam.ask(knowing, tokenizer).chosen


def test_a_removal_that_knows_one_prompt_only_is_found_by_another(knowing, guarded, exam, tokenizer):
    found = recovered(Format(attack="format", form="prefix"), knowing, guarded, exam, tokenizer)
    assert (found.base, found.control) == (1, 1)
    assert found.edited <= 0.2
    assert found.verdict == "fail"


@pytest.mark.parametrize("form", ["letters", "cloze", "few_shot", "paraphrase"])
def test_every_form_asks_the_same_questions(knowing, exam, tokenizer, form):
    answers = Format(attack="format", form=form).attempt(target_of(knowing, tokenizer), exam, silent).answers
    assert answers.ids == tuple(question.id for question in exam.asked)
    assert answers.kind == ("letters" if form == "letters" else "cloze")


def test_a_chat_needs_a_template(knowing, exam, tokenizer):
    with pytest.raises(GovernError, match="no chat template"):
        Format(attack="format", form="chat").attempt(target_of(knowing, tokenizer), exam, silent)


def test_standard_stands_for_the_cheap_attacks():
    extra = LogitLens(attack="logit_lens", max_recovery=0.5)
    assert expand(("standard", extra)) == (*STANDARD, extra)
    assert expand(()) == ()
    assert {attack.attack for attack in STANDARD} == {"relearn", "quantise", "logit_lens", "format"}
    assert not [attack for attack in STANDARD if isinstance(attack, Relearning) and attack.documents > 100]


def test_unrelated_text_is_the_retain_text(knowing, exam, tokenizer):
    target = target_of(knowing, tokenizer)
    found = attackers_text(Relearning(attack="relearn", text="unrelated", documents=1), target, exam)
    assert isinstance(found, TokenCorpus)
    assert found.documents[0] in target.unrelated.documents
