import math
import re

import pytest

from govern.errors import UsageError
from govern.evaluation.answers import Answers, Perplexity
from govern.evaluation.results import result
from govern.gates.accuracy import doubts
from govern.gates.registry import GATES

ceiling, floor, max_drop, max_increase = (
    GATES[name].judge for name in ("ceiling", "floor", "max_drop", "max_increase")
)


def answers(correct, *, kind="cloze", clusters=None, chosen=None, task="symbols"):
    n = len(correct)
    return Answers(
        task=task,
        metric="acc",
        kind=kind,
        ids=tuple(f"{index:016x}" for index in range(n)),
        clusters=clusters,
        parts=("certification",) * n,
        correct=tuple(correct),
        chosen=tuple(chosen) if chosen else tuple(index % 4 for index in range(n)),
        choices=(4,) * n,
    )


def shares(right, n=400):
    """`right` correct answers out of n, spread evenly."""
    return [index * right // n != (index + 1) * right // n for index in range(n)]


KNOWS = answers(shares(380))
GUESSES = answers(shares(100))


@pytest.mark.parametrize(("right", "verdict"), [(100, "pass"), (150, "inconclusive"), (250, "fail")])
def test_ceiling_passes_fails_or_abstains_by_its_bounds(right, verdict):
    gate = ceiling(KNOWS, answers(shares(right)), threshold=0.40, confidence=0.95)
    assert gate.verdict == verdict
    assert (gate.kind, gate.n, gate.before, gate.after) == ("ceiling", 400, 0.95, right / 400)
    assert gate.method == "Clopper–Pearson"
    if verdict != "fail":
        assert gate.bound > gate.after
    else:
        assert 0.40 < gate.bound < gate.after


@pytest.mark.parametrize(("right", "verdict"), [(380, "pass"), (365, "inconclusive"), (300, "fail")])
def test_floor_passes_fails_or_abstains_by_its_bounds(right, verdict):
    assert floor(KNOWS, answers(shares(right)), threshold=0.90, confidence=0.95).verdict == verdict


def test_the_reason_is_a_sentence_with_the_numbers():
    gate = ceiling(KNOWS, GUESSES, threshold=0.40, confidence=0.95)
    assert gate.reason.startswith("Accuracy went from 95.0 % to 25.0 % on 400 questions; with 95.0 % confidence")
    assert gate.reason.endswith("within the ceiling of 40.0 %.")


@pytest.mark.parametrize("right", [150, 170])
def test_an_inconclusive_reason_says_how_many_more_questions_would_decide(right):
    def gate(n):
        after = answers(shares(right * n // 400, n))
        return ceiling(answers([True] * n), after, threshold=0.40, confidence=0.95)

    more, verdict = re.search(r"about (\d+) more questions .* then (\w+)\.", gate(400).reason).groups()
    assert verdict == ("pass" if right < 160 else "fail")
    enough = 400 + int(more)
    assert gate(enough + 40).verdict == verdict  # whole questions round a share a little
    assert gate(enough - 40).verdict == "inconclusive"


def test_what_is_clustered_takes_more_questions():
    def more(clusters):
        after = answers([index % 50 < 19 for index in range(400)], clusters=clusters)
        before = answers([True] * 400, clusters=clusters)
        reason = ceiling(before, after, threshold=0.40, confidence=0.95).reason
        return int(re.search(r"about (\d+) more questions", reason)[1])

    assert more(tuple(f"fact {index % 50}" for index in range(400))) > 4 * more(None)


def test_data_on_the_threshold_are_decided_by_no_number():
    gate = ceiling(KNOWS, answers(shares(160)), threshold=0.40, confidence=0.95)
    assert gate.reason.endswith("so not even 1000 times as many questions like these would decide it.")


def test_a_gate_at_its_threshold_exactly_is_kept():
    bound = ceiling(KNOWS, GUESSES, threshold=0.40, confidence=0.95).bound
    assert ceiling(KNOWS, GUESSES, threshold=bound, confidence=0.95).verdict == "pass"
    below = ceiling(KNOWS, GUESSES, threshold=math.nextafter(bound, 0), confidence=0.95)
    assert below.verdict == "inconclusive"


def test_clusters_widen_the_bound_and_are_named():
    clusters = tuple(f"fact {index % 50}" for index in range(400))
    by_fact = tuple(index % 50 < 13 for index in range(400))
    gate = ceiling(
        answers([True] * 400, clusters=clusters),
        answers(by_fact, clusters=clusters),
        threshold=0.40,
        confidence=0.95,
    )
    independent = ceiling(KNOWS, answers(by_fact), threshold=0.40, confidence=0.95)
    assert gate.clusters == 50
    assert gate.bound > independent.bound + 0.05
    assert "400 questions about 50 subjects" in gate.reason


def test_a_baseline_at_chance_makes_a_ceiling_vacuous():
    gate = ceiling(answers(shares(110)), GUESSES, threshold=0.40, confidence=0.95)
    assert gate.verdict == "inconclusive"
    assert "not clearly above chance" in gate.reason


def test_a_baseline_at_chance_makes_a_drop_vacuous():
    gate = max_drop(GUESSES, GUESSES, threshold=0.05, confidence=0.95)
    assert gate.verdict == "inconclusive"
    assert "not clearly above chance" in gate.reason


def test_accuracy_clearly_below_chance_may_be_hiding():
    gate = ceiling(KNOWS, answers(shares(40)), threshold=0.40, confidence=0.95)
    assert gate.verdict == "inconclusive"
    assert "clearly below chance" in gate.reason


def test_one_letter_for_nearly_every_question_is_no_answer():
    collapsed = answers(shares(100), kind="letters", chosen=[2] * 360 + [0] * 40)
    knows = answers(shares(380), kind="letters")
    gate = ceiling(knows, collapsed, threshold=0.40, confidence=0.95)
    assert gate.verdict == "inconclusive"
    assert "chooses C for 90.0 %" in gate.reason
    spread = answers(shares(100), kind="letters", chosen=[2] * 359 + [0] * 41)
    assert ceiling(knows, spread, threshold=0.40, confidence=0.95).verdict == "pass"


def test_positions_of_cloze_choices_mean_nothing():
    assert doubts(KNOWS, answers(shares(100), chosen=[2] * 400), 0.4, confidence=0.95) == []


def test_doubts_never_soften_a_failure():
    collapsed = answers(shares(250), kind="letters", chosen=[2] * 400)
    weak = answers(shares(110), kind="letters")
    assert ceiling(weak, collapsed, threshold=0.40, confidence=0.95).verdict == "fail"


def test_a_floor_at_chance_says_nothing():
    gate = floor(KNOWS, KNOWS, threshold=0.25, confidence=0.95)
    assert gate.verdict == "inconclusive"
    assert "no higher than chance" in gate.reason


@pytest.mark.parametrize(("lost", "verdict"), [(4, "pass"), (18, "inconclusive"), (60, "fail")])
def test_drop_passes_fails_or_abstains_by_its_bounds(lost, verdict):
    before = [True] * 390 + [False] * 10
    after = [False] * lost + [True] * (390 - lost) + [False] * 10
    gate = max_drop(answers(before), answers(after), threshold=0.05, confidence=0.95)
    assert gate.verdict == verdict
    assert f"{lost} were lost and 0 gained" in gate.reason
    assert gate.method == "Tango's paired score bound"


def test_a_drop_is_paired():
    before = answers([True] * 200 + [False] * 200)
    gate = max_drop(before, before, threshold=0.02, confidence=0.95)
    assert gate.bound == pytest.approx(1 - 0.05 ** (1 / 400), abs=1e-6)


def reading(factor, *, documents=64):
    tokens = [40 + index % 24 for index in range(documents)]
    return Perplexity(
        task="self:",
        ids=tuple(f"{index:016x}" for index in range(documents)),
        nll=tuple(count * (3.0 + 0.3 * math.sin(index) + factor(index)) for index, count in enumerate(tokens)),
        tokens=tuple(tokens),
    )


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda index: 0.005, "pass"),
        (lambda index: 0.018 + 0.05 * math.cos(3 * index), "inconclusive"),
        (lambda index: 0.10, "fail"),
    ],
)
def test_perplexity_passes_fails_or_abstains_by_its_bounds(change, verdict):
    gate = max_increase(reading(lambda index: 0.0), reading(change), threshold=0.02, confidence=0.95)
    assert gate.verdict == verdict
    assert gate.metric == "perplexity"
    assert gate.before_interval.low < gate.before < gate.before_interval.high


def test_a_uniform_rise_is_measured_exactly():
    gate = max_increase(reading(lambda index: 0.0), reading(lambda index: 0.005), threshold=0.02, confidence=0.95)
    assert gate.bound == pytest.approx(math.expm1(0.005))
    assert gate.after / gate.before == pytest.approx(math.exp(0.005))


def test_one_document_decides_nothing():
    one = reading(lambda index: 0.0, documents=1)
    assert max_increase(one, one, threshold=0.02, confidence=0.95).verdict == "inconclusive"


def test_results_show_both_sides_and_chance():
    shown = result(KNOWS, GUESSES, confidence=0.95, part="certification")
    assert (shown.before, shown.after, shown.chance, shown.n) == (0.95, 0.25, 0.25, 400)
    assert shown.after_interval.low < 0.25 < shown.after_interval.high
    read = result(reading(lambda index: 0.0), reading(lambda index: 0.1), confidence=0.95, part="all")
    assert (read.metric, read.chance) == ("perplexity", None)


@pytest.mark.parametrize(
    "other",
    [
        answers(shares(100)).model_copy(update={"ids": tuple(reversed(GUESSES.ids))}),
        answers(shares(100), task="another"),
        answers(shares(50, 200)),
    ],
)
def test_different_questions_are_refused(other):
    with pytest.raises(UsageError, match="not to the same questions"):
        ceiling(KNOWS, other, threshold=0.4, confidence=0.95)


def test_another_metric_is_refused():
    with pytest.raises(UsageError, match="not to the same questions under acc_norm"):
        ceiling(KNOWS, GUESSES.model_copy(update={"metric": "acc_norm"}), threshold=0.4, confidence=0.95)


def test_no_questions_at_all_are_refused():
    with pytest.raises(UsageError, match="no questions to decide on"):
        ceiling(KNOWS.part("selection"), GUESSES.part("selection"), threshold=0.4, confidence=0.95)


def test_answers_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="400 entries"):
        Answers.model_validate({**KNOWS.model_dump(), "correct": (True,)})
