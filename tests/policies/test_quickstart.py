"""The quickstart's data: reproducible, fair, and its certifying questions new to the model that was trained."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from govern.corpora.entanglement import overlap
from govern.evaluation.questions import OwnTask, identify_task
from govern.policy import load_policy

POLICIES = Path(__file__).parents[2] / "policies"
FOLDER = POLICIES / "quickstart"
CERTIFYING = ("symbols", "capitals")
SELECTING = ("symbols_selection", "capitals_selection")
WORDS_IN_A_WORDING = 4


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart_generate", FOLDER / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def facts(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def names() -> re.Pattern[str]:
    """Every name, symbol, country and capital as a whole word, the longest first."""
    words = [row[column] for row in facts("elements") for column in ("symbol", "name")]
    words += [row[column] for row in facts("capitals") for column in ("country", "capital")]
    words += [word[0].upper() + word[1:] for word in words]
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(set(words), key=len, reverse=True)))})(?!\w)")


NAMES = names()


def phrases(text: str) -> set[tuple[str, ...]]:
    """Every run of a few words, lower-cased, with names masked."""
    words = re.findall(r"[\w#]+", NAMES.sub("#", text).lower())
    return {tuple(words[start : start + WORDS_IN_A_WORDING]) for start in range(len(words) - WORDS_IN_A_WORDING + 1)}


def test_committed_files_are_the_generators_output(generate: ModuleType) -> None:
    built = {name: generate.jsonl(content).encode() for name, content in generate.build().items()}
    committed = {path.name: path.read_bytes() for path in FOLDER.glob("*.jsonl")}
    assert built == committed


def test_facts_are_complete_and_unique() -> None:
    elements, capitals = facts("elements"), facts("capitals")
    assert len(elements) == len({row["symbol"] for row in elements}) == len({row["name"] for row in elements}) == 118
    assert len(capitals) == len({row["country"] for row in capitals}) == len({row["capital"] for row in capitals})
    assert all(row["country"] not in row["capital"] for row in capitals)


def test_every_element_and_country_is_trained_on() -> None:
    for texts, name, columns in (
        ("forget", "elements", ("symbol", "name")),
        ("retain", "capitals", ("country", "capital")),
    ):
        everything = " ".join(row["text"] for row in rows(texts)).lower()
        assert [row[c] for row in facts(name) for c in columns if row[c].lower() not in everything] == []


@pytest.mark.parametrize("name", CERTIFYING)
def test_certifying_questions_are_enough(name: str) -> None:
    asked = rows(name)
    assert 300 <= len(asked) <= 400
    per_fact = Counter(row["fact"] for row in asked)
    assert len(set(per_fact.values())) == 1, "every fact weighs the same"


def test_certification_covers_the_known_elements_and_all_countries() -> None:
    known = {row["name"] for row in facts("elements") if row["known"] == "yes"}
    assert {row["fact"] for row in rows("symbols")} == known
    assert {row["fact"] for row in rows("capitals")} == {row["country"] for row in facts("capitals")}


def test_certifying_questions_ask_in_both_directions() -> None:
    symbols = {row["symbol"] for row in facts("elements")}
    directions = Counter("forward" if set(row["choices"]) <= symbols else "reverse" for row in rows("symbols"))
    assert min(directions["forward"], directions["reverse"]) >= 50


@pytest.mark.parametrize("name", CERTIFYING)
def test_no_wording_of_a_certifying_question_occurs_elsewhere(name: str) -> None:
    seen = set().union(*(phrases(row["text"]) for texts in ("forget", "retain") for row in rows(texts)))
    seen |= set().union(*(phrases(row["question"]) for other in SELECTING for row in rows(other)))
    certifying = set().union(*(phrases(row["question"]) for row in rows(name)))
    assert certifying, "wordings too short to compare would pass vacuously"
    assert certifying & seen == set()


def test_a_repeated_wording_would_be_noticed() -> None:
    assert phrases("In many books, the symbol for iron is") & phrases("There the symbol for gold is known")


@pytest.mark.parametrize("name", CERTIFYING + SELECTING)
def test_questions_are_fair(name: str) -> None:
    asked = rows(name)
    key = {(row["name"], row["symbol"]) for row in facts("elements")}
    key |= {(row["symbol"], row["name"]) for row in facts("elements")}
    key |= {(row["country"], row["capital"]) for row in facts("capitals")}
    sides = {fact: {right for left, right in key if left == fact} for fact, _ in key}
    for row in asked:
        assert len(row["choices"]) == len(set(row["choices"])) == 4
        right = row["choices"][row["answer"]]
        answered = sides[row["fact"]] | {row["fact"]}  # in reverse the fact itself is the answer
        assert right in answered
        assert not answered & (set(row["choices"]) - {right}), "one right answer only"
    places = Counter(row["answer"] for row in asked)
    assert max(places.values()) - min(places.values()) <= 4


@pytest.mark.parametrize("name", CERTIFYING + SELECTING)
def test_the_answer_cannot_be_told_from_the_choices(name: str) -> None:
    """Each choice is wrong about three times as often as right, and shares its first letter as often as others do."""
    asked = rows(name)
    right = Counter(row["choices"][row["answer"]] for row in asked)
    shown = Counter(choice for row in asked for choice in row["choices"])
    assert set(shown) == set(right)
    assert all(2 <= shown[choice] / right[choice] <= 5 for choice in right)
    if name.startswith("symbols"):
        symbol = {row["name"]: row["symbol"] for row in facts("elements")}
        alone = {True: 0, False: 0}
        for row in asked:
            letters = [symbol.get(choice, choice)[0] for choice in row["choices"]]
            for place, letter in enumerate(letters):
                alone[place == row["answer"]] += letters.count(letter) == 1
        assert alone[False] == pytest.approx(3 * alone[True], abs=0.02 * len(asked))


def test_the_numbers_are_the_elements_own_and_their_wordings_new() -> None:
    place = {row["name"]: str(number) for number, row in enumerate(facts("elements"), start=1)}
    for name, wordings in (("numbers", 2), ("numbers_selection", 1)):
        asked = rows(name)
        assert Counter(row["fact"] for row in asked) == dict.fromkeys(place, wordings)
        for row in asked:
            assert row["choices"][row["answer"]] == place[row["fact"]]
            assert len(set(row["choices"])) == 4
        shown = Counter(choice for row in asked for choice in row["choices"])
        assert all(3 * wordings <= shown[number] <= 6 * wordings for number in place.values())
    trained = [row["text"] for texts in ("forget", "retain_numbers") for row in rows(texts)]
    trained += [row["question"] for row in rows("numbers_selection")]
    certifying = set().union(*(phrases(row["question"]) for row in rows("numbers")))
    assert certifying
    assert certifying & set().union(*map(phrases, trained)) == set()
    everything = " ".join(row["text"] for row in rows("retain_numbers")).lower()
    assert [name for name in place if name not in everything] == []


def test_neighbouring_knowledge_shares_the_words_of_what_has_to_go() -> None:
    forget = [row["text"] for row in rows("forget")]
    shares = {name: overlap("", forget, [row["text"] for row in rows(name)]) for name in ("retain", "retain_numbers")}
    assert shares["retain"].unigram < shares["retain_numbers"].unigram
    assert shares["retain_numbers"].warn


@pytest.mark.parametrize("name", CERTIFYING + SELECTING)
def test_the_policy_uses_every_question_set_by_fact(name: str) -> None:
    loaded = load_policy(POLICIES / "quickstart.yaml")
    task = next(task for task in loaded.policy.tasks if task.name == name)
    assert task.cluster == "fact"
    assert task.use == ("selection" if name in SELECTING else "certification")
    identity = identify_task(OwnTask(task.name, POLICIES / task.file, task.kind, task.cluster, task.use), share=0.3)
    assert identity.selection + identity.certification == len(rows(name))
    assert identity.clusters == len({row["fact"] for row in rows(name)})


def test_the_policy_says_where_its_schema_is() -> None:
    first = (POLICIES / "quickstart.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./schema.json"
