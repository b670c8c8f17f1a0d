"""A model whose numbers are none is said to be broken; nothing is decided about it."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.evaluation.harness import evaluate, perplexity
from govern.evaluation.questions import OwnTask


def broken(model):
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    return model


def test_a_broken_model_has_no_perplexity(tiny_model):
    with pytest.raises(GovernError, match="not numbers"):
        perplexity(broken(tiny_model), TokenCorpus(((1, 2, 3, 4),)), name="held-back")


def test_a_broken_model_answers_nothing(tiny_model, byte_tokenizer, tmp_path):
    file = tmp_path / "items.jsonl"
    file.write_text(json.dumps({"question": "Iron is", "choices": ["Fe", "Au"], "answer": 0}) + "\n")
    with pytest.raises(GovernError, match="not numbers"):
        evaluate(broken(tiny_model), byte_tokenizer, [OwnTask("items", file, "cloze")], share=0.3)
