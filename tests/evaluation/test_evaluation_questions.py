import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.errors import UsageError
from govern.evaluation.official import MMLU_SUBJECTS, OFFICIAL, is_official
from govern.evaluation.questions import OwnTask, identify_task, load_questions, mirror_digest, own_part, part_of

GOLD = {"question": "The symbol for gold is", "choices": ["Au", "Ag", "Go", "Gd"], "answer": 0, "element": "gold"}
SILVER = {"question": "The symbol for silver is", "choices": ["Au", "Ag", "Si", "Sv"], "answer": 1, "element": "silver"}


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "symbols.jsonl", GOLD, "", SILVER)


def test_questions_are_read_in_order_with_content_ids(file):
    gold, silver = load_questions(OwnTask("symbols", file, "cloze", cluster="element"))
    assert (gold.text, gold.choices, gold.answer, gold.cluster) == (
        GOLD["question"],
        ("Au", "Ag", "Go", "Gd"),
        0,
        "gold",
    )
    assert silver.cluster == "silver"
    canonical = b'["The symbol for gold is",["Au","Ag","Go","Gd"]]'
    assert gold.id == hashlib.sha256(canonical).hexdigest()[:16]
    assert load_questions(OwnTask("symbols", file, "cloze"))[0].cluster is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ({**GOLD, "question": " "}, "`question` must be a text"),
        ({**GOLD, "choices": ["Au"]}, "`choices` must be a list of 2 to 26 texts"),
        ({**GOLD, "choices": ["Au", 7]}, "`choices` must be a list of 2 to 26 texts"),
        ({**GOLD, "choices": ["Au", "Au"]}, "two of the `choices` are equal"),
        ({**GOLD, "answer": 4}, "`answer` must be the index of a choice"),
        ({**GOLD, "answer": True}, "`answer` must be the index of a choice"),
        ({**GOLD, "answer": "A"}, "`answer` must be the index of a choice"),
        ({**GOLD, "element": None}, "cluster column `element`"),
        (SILVER, "repeats line 1"),
    ],
)
def test_a_bad_line_is_named_without_its_text(tmp_path, row, message):
    path = write(tmp_path / "symbols.jsonl", SILVER, row)
    with pytest.raises(UsageError, match=message) as caught:
        load_questions(OwnTask("symbols", path, "cloze", cluster="element"))
    assert caught.value.where == f"{path}:2"
    assert "The symbol for" not in str(caught.value)


def test_missing_empty_and_binary_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="are missing"):
        load_questions(OwnTask("symbols", tmp_path / "none.jsonl", "cloze"))
    with pytest.raises(UsageError, match="has no questions"):
        load_questions(OwnTask("symbols", write(tmp_path / "empty.jsonl", ""), "cloze"))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read: UnicodeDecodeError"):
        load_questions(OwnTask("symbols", tmp_path / "binary.jsonl", "cloze"))


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_selection_questions(key, one, other):
    small, large = sorted((one, other))
    if part_of(key, salt="symbols", share=small) == "selection":
        assert part_of(key, salt="symbols", share=large) == "selection"


def test_the_split_has_the_asked_share_and_depends_on_the_task():
    parts = [part_of(str(index), salt="symbols", share=0.3) for index in range(10_000)]
    assert 0.28 < parts.count("selection") / 10_000 < 0.32
    assert parts != [part_of(str(index), salt="capitals", share=0.3) for index in range(10_000)]
    assert {part_of(str(index), salt="symbols", share=0.0) for index in range(100)} == {"certification"}


def test_a_fact_is_never_on_both_sides(tmp_path):
    rows = [
        {"question": f"Wording {wording} about {fact}", "choices": ["a", "b"], "answer": 0, "fact": fact}
        for fact in range(40)
        for wording in range(5)
    ]
    task = OwnTask("facts", write(tmp_path / "facts.jsonl", *rows), "cloze", cluster="fact", use="split")
    sides: dict[str, set[str]] = {}
    for question in load_questions(task):
        sides.setdefault(question.cluster, set()).add(own_part(task, question, share=0.3))
    assert all(len(parts) == 1 for parts in sides.values())
    assert set.union(*sides.values()) == {"selection", "certification"}


@pytest.mark.parametrize("use", ["selection", "certification"])
def test_a_task_can_be_for_one_purpose(file, use):
    identity = identify_task(OwnTask("symbols", file, "cloze", use=use), share=0.3)
    assert {"selection": identity.selection, "certification": identity.certification}[use] == 2
    assert identity.selection + identity.certification == 2


def test_an_own_task_is_identified_by_content_alone(file, tmp_path):
    task = OwnTask("symbols", file, "cloze", cluster="element")
    moved = OwnTask("symbols", write(tmp_path / "moved.jsonl", GOLD, SILVER), "cloze", cluster="element")
    identity = identify_task(task, share=0.3)
    assert (identity.kind, identity.source, identity.clusters) == ("cloze", "file:symbols.jsonl", 2)
    assert identity.digest == identify_task(moved, share=0.3).digest
    changed = OwnTask("symbols", write(tmp_path / "changed.jsonl", GOLD, {**SILVER, "answer": 0}), "cloze", "element")
    others = [identify_task(other, share=0.3) for other in (changed, OwnTask("symbols", file, "letters", "element"))]
    assert identity.digest not in {other.digest for other in others}


def test_official_sets_hold_the_published_counts():
    assert {name: OFFICIAL[name][0].questions for name in ("wmdp_bio", "wmdp_chem", "wmdp_cyber")} == {
        "wmdp_bio": 1273,
        "wmdp_chem": 408,
        "wmdp_cyber": 1987,
    }
    assert len(MMLU_SUBJECTS) == 57
    assert sum(task.questions for task in OFFICIAL["mmlu"]) == 14042
    assert is_official("mmlu_virology")
    assert not is_official("symbols")


def test_an_official_set_is_identified_by_revision_or_mirror(tmp_path):
    pinned = identify_task("wmdp_cyber", share=0.3)
    assert (pinned.kind, pinned.selection, pinned.certification) == ("official", 596, 1391)
    assert pinned.source == "hf:cais/wmdp@7125571f22f032c56415e7980f48d877dd830ff8"
    with pytest.raises(UsageError, match="mirror holds no data"):
        identify_task("wmdp_cyber", share=0.3, mirror=tmp_path)
    folder = tmp_path / "cais/wmdp"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("{}")
    mirrored = identify_task("wmdp_cyber", share=0.3, mirror=tmp_path)
    assert mirrored.source == "mirror:cais/wmdp"
    before = mirror_digest(folder)
    (folder / "test.jsonl").write_text("[]")
    assert mirror_digest(folder) != before
    assert identify_task("wmdp_cyber", share=0.3, mirror=tmp_path).digest != mirrored.digest


def test_an_unknown_official_name_is_refused():
    with pytest.raises(UsageError, match="no official task 'wmdp'"):
        identify_task("wmdp", share=0.3)


def test_published_mmlu_counts_match_the_data():
    data = Path(__file__).parents[2].parent / "shared/data/mmlu/test"
    if not data.is_dir():
        pytest.skip("needs ../shared/data/mmlu")
    import csv

    found = {}
    for path in data.glob("*_test.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            found[path.name.removesuffix("_test.csv")] = sum(1 for _ in csv.reader(stream))
    assert found == MMLU_SUBJECTS


def test_decisions_and_questions_need_no_model_library():
    code = (
        "import sys, govern.evaluation.results, govern.gates.registry, govern.evaluation.questions\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
