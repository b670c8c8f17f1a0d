"""MUSE, RWKU and Who's Harry Potter on small files of their form, with text of our own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_files import write_list, write_muse, write_rwku, write_whp

from govern.errors import UsageError
from govern.evaluation.packs import Asked, load_pack
from govern.evaluation.packs.muse import more_surprising, most_surprising

PART = Asked(part=True)
NUMBERS = st.lists(st.floats(0, 20), min_size=1, max_size=20)


class Speaker:
    """A reader that says to each prompt what its table says, and is surprised by texts as the other one says."""

    def __init__(self, said, surprised=()):
        self.said, self.surprised = said, dict(surprised)

    def continuations(self, prompts, *, most):
        return [self.said(prompt) for prompt in prompts]

    def surprises(self, texts, *, most):
        return [self.surprised[text] for text in texts]

    def likelihoods(self, pairs):
        raise AssertionError


def values(pack, reader, retained=None):
    replies = pack.ask(reader)
    found = pack.figures(replies, retained, confidence=0.95)
    assert all(figure.interval.low <= figure.value <= figure.interval.high for figure in found)
    return {figure.name: figure.value for figure in found}, replies


@pytest.fixture
def muse(tmp_path):
    return write_muse(tmp_path / "news")


def test_muse_by_hand(muse):
    pack = load_pack("muse", muse, PART)
    assert pack.questions == {
        "verbatim": 2, "knowledge_forget": 2, "knowledge_retain": 2, "privacy_forget": 2, "privacy_holdout": 2,
    }  # fmt: skip
    asked = []

    def said(prompt):
        asked.append(prompt)
        if prompt.startswith("The mayor"):
            return "opened the new bridge" if prompt.endswith("1") else "slept"
        return "the mayor\n\nQuestion: Who else?" if "retain" in prompt else "a clerk"

    known = {"known one": [1.0, 0.0], "known two": [2.0], "fresh one": [3.0, 5.0, 1.0], "fresh two": [1.5]}
    found, replies = values(pack, Speaker(said, known))
    assert found["verbatim"] == 0.5
    assert (found["knowledge.forget"], found["knowledge.retain"]) == (0, 1)
    assert asked[2] == "Question: Who is it?\nAnswer: nobody\n\nQuestion: Who forget a?\nAnswer:"
    assert found["privacy.auc"] == 0.25  # of four pairs the forget text surprises more in one
    assert "privacy.leakage" not in found
    unseen = Speaker(said, {text: [4.0] for text in known})
    _, retained = values(pack, unseen)
    assert values(pack, unseen, retained)[0]["privacy.leakage"] == 0
    assert values(pack, Speaker(said, known), retained)[0]["privacy.leakage"] == 0.25 / 0.5 - 1
    assert replies["privacy.holdout"] == (5.0, 1.5)


@given(NUMBERS)
def test_min_k_is_between_the_mean_and_the_most(surprises):
    found = most_surprising(surprises)
    assert sum(surprises) / len(surprises) - 1e-9 <= found <= max(surprises) + 1e-9
    assert most_surprising([5.0, 4.0, 1.0, 1.0, 1.0]) == 4.5


@given(NUMBERS, NUMBERS)
def test_the_area_under_the_curve_is_a_probability_that_turns_round(first, second):
    assert more_surprising(first, second) == pytest.approx(1 - more_surprising(second, first))
    assert more_surprising(first, first) == pytest.approx(0.5)
    assert more_surprising([value + 21 for value in first], second) == 1


@pytest.mark.parametrize(
    ("name", "rows", "message", "where"),
    [
        ("verbmem/forget.json", [{"prompt": "a", "gt": "b"}, {"prompt": "a"}], "column 'gt'", "forget.json, entry 2"),
        ("privleak/forget.json", ["a", 3], "not a JSON object", "forget.json, entry 2"),
        ("privleak/holdout.json", {"text": "a"}, "not a JSON list", "holdout.json"),
        ("knowmem/retain_qa.json", [], "no rows", "retain_qa.json"),
    ],
)
def test_bad_lists_are_named_by_entry(muse, name, rows, message, where):
    write_list(muse / name, rows)
    with pytest.raises(UsageError, match=message) as caught:
        load_pack("muse", muse, PART)
    assert caught.value.where.endswith(where)


def test_a_muse_that_is_cut_is_refused_and_json_errors_have_a_line(muse):
    with pytest.raises(UsageError, match="holds 2 rows, the published one 100"):
        load_pack("muse", muse, Asked())
    (muse / "privleak/forget.json").write_text('[\n"a",\nb]')
    with pytest.raises(UsageError, match="not JSON") as caught:
        load_pack("muse", muse, PART)
    assert caught.value.where.endswith("forget.json:3:1")
    with pytest.raises(UsageError, match="has no splits"):
        load_pack("muse", muse, Asked(split="news"))


@pytest.fixture
def rwku(tmp_path):
    return write_rwku(tmp_path / "1_Ada")


def test_rwku_by_hand(rwku):
    pack = load_pack("rwku", rwku, Asked())
    assert pack.questions["forget.attacks"] == 3
    asked = []

    def said(prompt):
        asked.append(prompt)
        return "paint\nblue" if "blank" in prompt else "it is blue paint"

    found, _ = values(pack, Speaker(said))
    assert found["forget.blanks"] == found["neighbour.blanks"] == 0.5  # the second line does not count
    assert found["forget.questions"] == found["forget.attacks"] == 1
    assert asked[0] == "Please complete the blank in the following question.\nQuestion: forget 1 is\nAnswer:"
    assert [prompt.endswith("Answer:") for prompt in asked[2:5]] == [True, False, True]
    assert "Question:" not in asked[4]


def test_an_attack_without_its_kind_is_refused(rwku):
    write_list(rwku / "forget_level3.json", [{"query": "a", "answer": "b"}])
    with pytest.raises(UsageError, match="column 'type'") as caught:
        load_pack("rwku", rwku, Asked())
    assert caught.value.where.endswith("forget_level3.json, entry 1")


def test_whp_counts_completions_that_name_what_only_a_reader_knows(tmp_path):
    file = write_whp(tmp_path) / "prompts.jsonl"
    pack = load_pack("whp", tmp_path, Asked())
    answers = iter(["and to the old mill.", "and met Wrenford.", "WREN", ""])
    found, _ = values(pack, Speaker(lambda prompt: next(answers)))
    assert found == {"familiarity": 0.5}
    assert load_pack("whp", tmp_path, Asked(limit=3)).questions == {"prompts": 3}
    file.write_text(json.dumps({"prompt": "Wren went", "references": ["Wren"]}), encoding="utf-8")
    with pytest.raises(UsageError, match="already says") as caught:
        load_pack("whp", tmp_path, Asked())
    assert caught.value.where.endswith("prompts.jsonl:1")
