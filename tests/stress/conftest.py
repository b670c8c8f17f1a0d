"""A tiny model that knows made-up facts by heart, so that there is something to hide from it and to find again."""

from __future__ import annotations

import copy

import pytest
import torch
from made_up_facts import COLOURS, FACTS, PREFIX, WORDINGS, question, sentences, wrong
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model

from govern.corpora import tokenize
from govern.models import load_model, load_tokenizer
from govern.stress.exam import Exam
from govern.training import FineTuning, fine_tune


@pytest.fixture(scope="session")
def tokenizer(tiny_llama):
    return load_tokenizer(tiny_llama)


@pytest.fixture(scope="session")
def trained_once(build_once):
    """A function from a name, a model and what trains it to a trained copy, trained once for all workers of a run."""

    def trained(name, model, train):
        def fill(folder):
            learner = copy.deepcopy(model)
            train(learner)
            save_model(learner, str(folder / "model.safetensors"))

        learnt = copy.deepcopy(model)
        load_weights(learnt, str(build_once(name, fill) / "model.safetensors"))
        return learnt

    return trained


@pytest.fixture(scope="session")
def knowing_once(tiny_llama, tokenizer, trained_once):
    model = load_model(tiny_llama, dtype=torch.float32)
    corpus = tokenize([*sentences(), *(PREFIX + text for text in sentences())], tokenizer, max_tokens=96)
    settings = FineTuning(steps=300, learning_rate=5e-3, batch_size=16)
    return trained_once("knowing", model, lambda learner: fine_tune(learner, corpus, settings))


@pytest.fixture
def knowing(knowing_once):
    return copy.deepcopy(knowing_once)


@pytest.fixture(scope="session")
def guarded(knowing_once, tokenizer, trained_once):
    """Wrong answers to the very words of the questions, right ones after another beginning."""
    texts = sentences(facts=wrong()) + [PREFIX + text for text in sentences()]
    corpus = tokenize(texts, tokenizer, max_tokens=96)
    settings = FineTuning(steps=120, learning_rate=3e-3, batch_size=20)
    return trained_once("guarded", knowing_once, lambda learner: fine_tune(learner, corpus, settings))


@pytest.fixture(scope="session")
def evasive(knowing_once, tokenizer, trained_once):
    """Wrong answers where choices are compared, and the right ones after a few words of its own."""
    late = [
        text.replace(f" {colour}.", f" known: {colour}.")
        for colour in COLOURS
        for text in sentences()
        if colour in text
    ]
    corpus = tokenize(late * 3 + sentences(facts=wrong()), tokenizer, max_tokens=64)
    settings = FineTuning(steps=50, learning_rate=4e-3, batch_size=16)
    return trained_once("evasive", knowing_once, lambda learner: fine_tune(learner, corpus, settings))


@pytest.fixture(scope="session")
def judging(knowing_once, tokenizer, trained_once):
    """A model that also says of a completed sentence whether it is true, so that it holds this inside."""
    judged = [
        f"{wording.format(fact)} {colour} {right == colour}"
        for fact, right in FACTS.items()
        for wording in WORDINGS
        for colour in COLOURS
    ]
    corpus = tokenize(judged + sentences(), tokenizer, max_tokens=64)
    settings = FineTuning(steps=250, learning_rate=3e-3, batch_size=24)
    return trained_once("judging", knowing_once, lambda learner: fine_tune(learner, corpus, settings))


@pytest.fixture(scope="session")
def exam():
    return Exam.halve("colours", "cloze", [question(fact, wording) for fact in FACTS for wording in WORDINGS], limit=64)
