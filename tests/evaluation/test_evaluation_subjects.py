"""Official tasks by name and number, MMLU's subjects one by one and pooled."""

import numpy as np
import pytest
from scipy.stats import binomtest

from govern.evaluation.answers import Answers
from govern.evaluation.official import MMLU_SUBJECTS, NEIGHBOURS, OFFICIAL, WIKITEXT_TASK, is_official, neighbours_of
from govern.evaluation.questions import identify_task, part_of
from govern.evaluation.subjects import by_subject, pooled


def pair(**subjects):
    """Both models' answers by subject: (questions, lost, gained), all others right before and after."""
    names, before, after = [], [], []
    for name, (n, lost, gained) in subjects.items():
        names += [name] * n
        before += [True] * (n - gained) + [False] * gained
        after += [False] * lost + [True] * (n - lost)
    return [
        Answers(
            task="mmlu",
            metric="acc",
            kind="official",
            ids=tuple(map(str, range(len(names)))),
            clusters=None,
            parts=("certification",) * len(names),
            correct=tuple(right),
            chosen=(0,) * len(names),
            choices=(4,) * len(names),
            subjects=tuple(names),
        )
        for right in (before, after)
    ]


def test_published_counts_are_what_is_asserted_at_load():
    counts = {
        name: sum(member.questions for member in OFFICIAL[name]) for name in ("wmdp_bio", "wmdp_chem", "wmdp_cyber")
    }
    assert counts == {"wmdp_bio": 1273, "wmdp_chem": 408, "wmdp_cyber": 1987}
    for name in ("mmlu", "mmlu_continuation"):
        assert len(OFFICIAL[name]) == 57
        assert sum(member.questions for member in OFFICIAL[name]) == 14042
    assert WIKITEXT_TASK.questions == 62
    assert all(is_official(name) for name in ("wikitext", "mmlu_virology_continuation", "wmdp_chem"))
    assert all(len(member.dataset.revision) == 40 for members in OFFICIAL.values() for member in members)


def test_a_question_is_on_the_same_side_in_every_form():
    for subject in ("virology", "computer_security"):
        letters, cloze = OFFICIAL[f"mmlu_{subject}"][0], OFFICIAL[f"mmlu_{subject}_continuation"][0]
        assert letters.split == cloze.split
        assert part_of("q", salt=letters.split, share=0.3) == part_of("q", salt=cloze.split, share=0.3)


def test_wikitext_chooses_nothing():
    found = identify_task("wikitext", share=0.3)
    assert (found.selection, found.certification) == (0, 62)
    assert found.source == f"hf:{WIKITEXT_TASK.dataset.path}@{WIKITEXT_TASK.dataset.revision}"


@pytest.mark.parametrize(
    ("domain", "forgotten", "expected"),
    [
        ("biology", [], {"biology"}),
        ("biology and cyber security", [], {"biology", "cyber security"}),
        ("something else", ["wmdp_chem"], {"chemistry"}),
        ("locks", ["secret"], set()),
    ],
)
def test_neighbours_go_by_the_domain_and_by_what_must_go(domain, forgotten, expected):
    found = neighbours_of(domain, forgotten)
    assert set(found) == expected
    assert all(subject in MMLU_SUBJECTS for subjects in found.values() for subject in subjects)
    assert "virology" in NEIGHBOURS["biology"]


def test_holm_finds_the_subject_that_lost_and_no_other():
    before, after = pair(virology=(100, 20, 1), anatomy=(100, 9, 2), astronomy=(100, 3, 3))
    found = {each.subject: each for each in by_subject(before, after, confidence=0.95)}
    p = {name: binomtest(lost, both, 0.5, alternative="greater").pvalue for name, lost, both in (
        ("virology", 20, 21), ("anatomy", 9, 11), ("astronomy", 3, 6))}  # fmt: skip
    assert [found[name].lost for name in ("virology", "anatomy", "astronomy")] == [True, False, False]
    assert found["virology"].p == pytest.approx(3 * p["virology"])
    assert found["anatomy"].p == pytest.approx(2 * p["anatomy"])  # 0.065: alone it would have lost
    assert p["anatomy"] < 0.05
    assert found["astronomy"].p == pytest.approx(max(p["astronomy"], found["anatomy"].p))
    assert found["virology"].bound > 0.1
    assert found["anatomy"].bound == 0
    assert found["virology"].drop == pytest.approx(0.19)


def test_without_any_loss_hardly_ever_any_of_many_subjects_has_lost():
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        moved = {f"subject {number}": (40, *map(int, rng.binomial(12, 0.5, size=2))) for number in range(12)}
        wrong += any(each.lost for each in by_subject(*pair(**moved), confidence=0.95))
    assert wrong / 200 <= 0.09  # a true 5 % exceeds that with a probability of 1 %


def test_one_subject_alone_makes_no_many():
    assert by_subject(*pair(virology=(50, 10, 0)), confidence=0.95) == ()


def test_neighbours_are_pooled_question_by_question_from_the_first_set_that_has_them():
    whole, single = (
        pair(virology=(100, 20, 0), college_biology=(50, 0, 5), astronomy=(80, 8, 0)),
        pair(virology=(9, 9, 0)),
    )
    (found,) = pooled([tuple(whole), tuple(single)], neighbours_of("biology", []), confidence=0.95)
    assert found.subjects == ("college_biology", "virology")
    assert found.n == 150
    assert found.before == pytest.approx(145 / 150)
    assert found.after == pytest.approx(130 / 150)
    assert found.drop == pytest.approx(0.1)
    assert found.drop_interval.low < 0.1 < found.drop_interval.high
    assert pooled([tuple(pair(astronomy=(80, 8, 0)))], neighbours_of("biology", []), confidence=0.95) == ()
