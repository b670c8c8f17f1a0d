"""A tiny model that knows made-up facts by heart, so that there is something to hide from it and to find again."""

from __future__ import annotations

import copy

import pytest
import torch
from made_up_facts import FACTS, PREFIX, WORDINGS, question, sentences

from govern.corpora import tokenize
from govern.models import load_model, load_tokenizer
from govern.stress.exam import Exam
from govern.training import FineTuning, fine_tune


@pytest.fixture(scope="session")
def tokenizer(tiny_llama):
    return load_tokenizer(tiny_llama)


@pytest.fixture(scope="session")
def knowing_once(tiny_llama, tokenizer):
    model = load_model(tiny_llama, dtype=torch.float32)
    corpus = tokenize([*sentences(), *(PREFIX + text for text in sentences())], tokenizer, max_tokens=96)
    fine_tune(model, corpus, FineTuning(steps=300, learning_rate=5e-3, batch_size=16))
    return model


@pytest.fixture
def knowing(knowing_once):
    return copy.deepcopy(knowing_once)


@pytest.fixture(scope="session")
def exam():
    return Exam.halve("colours", "cloze", [question(fact, wording) for fact in FACTS for wording in WORDINGS], limit=64)
