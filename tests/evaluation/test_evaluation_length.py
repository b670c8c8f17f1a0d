"""Questions longer than the model's context: counted where they are few, refused where they are many."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from tiny_models import tiny_tokenizer

from govern.errors import UsageError
from govern.evaluation.answers import Answers
from govern.evaluation.harness import evaluate
from govern.evaluation.length import context_length, too_long
from govern.evaluation.questions import OwnTask, load_questions
from govern.evaluation.results import result


@pytest.fixture(scope="module")
def short_sighted():
    """A model that reads 64 tokens at once."""
    config = transformers.LlamaConfig(
        vocab_size=416, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).eval()


def questions(path, long):
    rows = [
        {"question": f"Question {number}: " + "Pack my box. " * (60 if number < long else 1), "choices": ["a", "b"]}
        | {"answer": number % 2}
        for number in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return OwnTask(name="items", file=path, kind="cloze")


def test_a_few_are_counted(short_sighted, tmp_path):
    task, tokenizer = questions(tmp_path / "q.jsonl", long=2), tiny_tokenizer()
    answers = evaluate(short_sighted, tokenizer, [task], share=0.3)[0]
    assert sum(answers.cut) == 2 == too_long(
        load_questions(task), "cloze", tokenizer, context=context_length(short_sighted.config, tokenizer)
    )  # fmt: skip
    assert answers.cut[:3] == (True, True, False)
    shown = result(answers, answers, confidence=0.95, part="all")
    assert (shown.cut, shown.to_json()["cut"]) == (2, 2)


def test_none_are_left_out_of_the_record(short_sighted, tmp_path):
    answers = evaluate(short_sighted, tiny_tokenizer(), [questions(tmp_path / "q.jsonl", long=0)], share=0.3)[0]
    assert answers.cut is None
    assert not {"cut", "merged"} & set(answers.to_json())
    assert not {"cut", "merged"} & set(result(answers, answers, confidence=0.95, part="all").to_json())


def test_many_are_refused(short_sighted, tmp_path):
    with pytest.raises(UsageError, match="3 of the 40 questions of items are longer than the model's context"):
        evaluate(short_sighted, tiny_tokenizer(), [questions(tmp_path / "q.jsonl", long=3)], share=0.3)


def test_a_subset_keeps_the_marks_of_its_own():
    several = Answers(
        task="t", metric="acc", kind="cloze", ids=("a", "b"), clusters=None, parts=("selection", "certification"),
        correct=(True, False), chosen=(0, 1), choices=(2, 2), cut=(True, False), subjects=("x", "x"),
    )  # fmt: skip
    assert several.part("selection").cut == (True,)
    unmarked = several.model_copy(update={"cut": None})
    assert Answers.joined("t", [unmarked, several]).cut == (False, False, True, False)
    assert Answers.joined("t", [unmarked, unmarked]).cut is None
