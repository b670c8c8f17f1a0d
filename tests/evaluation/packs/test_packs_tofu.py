"""TOFU's metrics by hand and by their laws, and what is said of files that are not TOFU's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_files import write_rows, write_tofu

from govern.corpora import put
from govern.errors import UsageError
from govern.evaluation.packs import Asked, load_pack
from govern.evaluation.packs.tofu import Tofu, among, forget_quality, log_truth_ratio

REAL = Path(__file__).parents[4] / "shared/data/tofu"
PART = Asked(split="forget01", part=True)
LIKELIHOODS = st.floats(-20, 0)
WRONG = st.lists(LIKELIHOODS, min_size=1, max_size=6)


class Parrot:
    """A reader that finds right answers likely by `right` and wrong ones by `wrong`, and says the right one."""

    def __init__(self, pack: Tofu, *, right: float, wrong: float, says: bool = True) -> None:
        self.right, self.wrong = right, wrong
        items = [item for items in pack.sets.values() for item in items]
        self.known = {(item.question, text) for item in items for text in (item.answer, item.paraphrase)}
        self.said = {put(item.question): item.answer if says else "" for item in items}

    def likelihoods(self, pairs):
        return [math.log(self.right if pair in self.known else self.wrong) for pair in pairs]

    def continuations(self, prompts, *, most):
        assert most > 0
        return [self.said[prompt] for prompt in prompts]


@pytest.fixture
def pack(tmp_path):
    return load_pack("tofu", write_tofu(tmp_path / "tofu"), PART)


def values(pack, reader, retained=None):
    replies = pack.ask(reader)
    found = pack.figures(replies, retained, confidence=0.95)
    return {figure.name: figure.value for figure in found}, replies


def test_every_figure_by_hand(pack):
    assert pack.questions == {"forget": 6, "retain": 5, "real_authors": 4, "world_facts": 4}
    found, _ = values(pack, Parrot(pack, right=0.5, wrong=0.1))
    assert found["forget.probability"] == found["retain.probability"] == pytest.approx(0.5)
    assert found["real_authors.probability"] == pytest.approx(0.5 / 0.7)
    assert found["forget.truth_ratio"] == pytest.approx(0.2)  # min(R, 1/R)
    assert found["retain.truth_ratio"] == found["world_facts.truth_ratio"] == pytest.approx(0.8)  # 1 − R
    assert found["retain.rouge"] == 1
    nine = [0.5, 1, 0.8, 0.5 / 0.7, 1, 0.8, 0.5 / 0.7, 1, 0.8]
    assert found["utility"] == pytest.approx(9 / sum(1 / value for value in nine))
    assert "forget_quality" not in found


def test_a_model_that_prefers_wrong_answers_or_says_nothing_has_no_utility(pack):
    found, _ = values(pack, Parrot(pack, right=0.1, wrong=0.5))
    assert found["forget.truth_ratio"] == pytest.approx(0.2)  # as far from 1 as five times too sure
    assert found["retain.truth_ratio"] == found["utility"] == 0
    assert values(pack, Parrot(pack, right=0.5, wrong=0.1, says=False))[0]["utility"] == 0


def test_forget_quality_tells_a_model_from_another_by_its_truth_ratios_alone(pack):
    sure, unsure = Parrot(pack, right=0.5, wrong=0.1), Parrot(pack, right=0.5, wrong=0.4)
    _, retained = values(pack, unsure)
    assert values(pack, unsure, retained)[0]["forget_quality"] == 1
    assert values(pack, sure, retained)[0]["forget_quality"] == pytest.approx(2 / math.comb(12, 6))


def test_a_broken_models_ratios_are_still_numbers(pack):
    found, _ = values(pack, Parrot(pack, right=1e-300, wrong=1))
    assert found["forget.truth_ratio"] == pytest.approx(1e-300)
    assert found["real_authors.probability"] == pytest.approx(0, abs=1e-290)


@given(LIKELIHOODS, WRONG, st.floats(-5, 5))
def test_the_truth_ratio_asks_only_how_much_likelier_one_is_than_the_other(paraphrase, wrong, shift):
    found = log_truth_ratio(paraphrase, wrong)
    assert log_truth_ratio(paraphrase + shift, [each + shift for each in wrong]) == pytest.approx(found, abs=1e-9)
    assert log_truth_ratio(paraphrase, sorted(wrong)) == pytest.approx(found, abs=1e-9)
    assert log_truth_ratio(paraphrase, wrong * 2) == pytest.approx(found, abs=1e-9)
    assert log_truth_ratio(paraphrase, [paraphrase] * len(wrong)) == pytest.approx(0, abs=1e-9)
    # the geometric mean is never above the arithmetic one
    assert math.exp(found) <= sum(math.exp(each - paraphrase) for each in wrong) / len(wrong) * (1 + 1e-9)


@given(LIKELIHOODS, WRONG)
def test_the_probability_among_answers_is_one_and_falls_with_more_of_them(right, wrong):
    found = among(right, wrong)
    assert 0 < found < 1
    assert among(right, [*wrong, -1.0]) < found or found < 1e-8
    assert among(right, [right]) == pytest.approx(0.5)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.permutations(range(30)))
def test_equal_samples_are_equal_in_any_order_and_any_scale(sample, order):
    shuffled = [sample[place] for place in order if place < len(sample)]
    assert forget_quality(sample, shuffled) == pytest.approx(1)
    other = [value + 1 for value in sample]
    # log R and R have the same ranks
    stretched = [[math.exp(value) for value in each] for each in (sample, other)]
    if len({*sample, *other}) == len({*stretched[0], *stretched[1]}):
        assert forget_quality(*stretched) == forget_quality(sample, other)


def test_a_limit_takes_the_same_questions_whatever_their_order(tmp_path):
    folder = write_tofu(tmp_path / "tofu")
    asked = Asked(split="forget01", limit=3, part=True)
    first = load_pack("tofu", folder, asked)
    assert set(first.questions.values()) == {3}
    assert first.digest != load_pack("tofu", folder, PART).digest
    lines = (folder / "forget01_perturbed.jsonl").read_text().splitlines()
    (folder / "forget01_perturbed.jsonl").write_text("\n".join(reversed(lines)))
    assert load_pack("tofu", folder, asked).digest == first.digest


def bad(folder, row):
    write_rows(folder / "retain_perturbed.jsonl", [*_rows(folder), row])
    return f"{folder / 'retain_perturbed.jsonl'}:6"


def _rows(folder):
    return [json.loads(line) for line in (folder / "retain_perturbed.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "a"}, "column 'question' holds no text"),
        ({"question": "Who?", "answer": " "}, "column 'answer' holds no text"),
        ({"question": "Who?", "answer": "a"}, "column 'paraphrased_answer' holds no text"),
        ({"question": "Who?", "answer": "a", "paraphrased_answer": "b", "perturbed_answer": "c"}, "no list of texts"),
        ({"question": "Who?", "answer": "a", "paraphrased_answer": "b", "perturbed_answer": []}, "no list of texts"),
        (["Who?"], "the row is not a JSON object"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_and_never_quoted(tmp_path, row, message):
    folder = write_tofu(tmp_path / "tofu")
    where = bad(folder, row)
    with pytest.raises(UsageError, match=message) as caught:
        load_pack("tofu", folder, PART)
    assert caught.value.where == where
    assert "Who?" not in str(caught.value)


def test_files_that_are_missing_empty_cut_or_no_json_are_refused(tmp_path):
    folder = write_tofu(tmp_path / "tofu")
    with pytest.raises(UsageError, match="holds 6 rows, the published one 40") as caught:
        load_pack("tofu", folder, Asked(split="forget01"))
    assert "--part" in caught.value.hint
    (folder / "world_facts_perturbed.jsonl").write_text('{"question": "a"\n')
    with pytest.raises(UsageError, match="not JSON") as caught:
        load_pack("tofu", folder, PART)
    assert caught.value.where.endswith("world_facts_perturbed.jsonl:1:17")
    (folder / "world_facts_perturbed.jsonl").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="nested too deeply"):
        load_pack("tofu", folder, PART)
    (folder / "world_facts_perturbed.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_pack("tofu", folder, PART)
    (folder / "world_facts_perturbed.jsonl").write_text("\n")
    with pytest.raises(UsageError, match="no rows"):
        load_pack("tofu", folder, PART)
    (folder / "world_facts_perturbed.jsonl").unlink()
    with pytest.raises(UsageError, match="missing"):
        load_pack("tofu", folder, PART)


def test_an_unknown_pack_and_split_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="no benchmark pack soy") as caught:
        load_pack("soy", tmp_path, Asked())
    assert "tofu" in caught.value.hint
    for split, message in ((None, "needs a split"), ("forget50", "has no split forget50")):
        with pytest.raises(UsageError, match=message) as caught:
            load_pack("tofu", tmp_path, Asked(split=split))
        assert "forget05" in caught.value.hint


@pytest.mark.skipif(not REAL.is_dir(), reason="TOFU's data are not beside the project (../shared/data/tofu)")
@pytest.mark.parametrize(("split", "count"), [("forget01", 40), ("forget05", 200), ("forget10", 400)])
def test_the_published_files_have_the_published_numbers(split, count):
    pack = load_pack("tofu", REAL, Asked(split=split))
    assert pack.questions == {"forget": count, "retain": 400, "real_authors": 100, "world_facts": 117}
