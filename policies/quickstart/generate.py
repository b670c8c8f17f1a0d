"""Writes the quickstart's training texts and question files from the facts in elements.csv and capitals.csv.

    python generate.py                  writes the files beside this script; the same facts always give the same bytes
    python generate.py --measure MODEL  first asks a model (a source such as builtin:smollm2-135m-instruct) which
                                        elements it knows, and writes the answer into elements.csv

A model knows an element when it answers every selection question about it. Only known elements certify: what a model
never knew cannot be shown to be gone. The certifying wordings have no part in that choice.

Whatever looks random is ordered by a hash, so that no version of Python changes it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).parent

SYMBOL_TEXTS = (
    "{name} has the chemical symbol {symbol}.",
    "{symbol} stands for {name}.",
    "In formulas, {name} is written {symbol}.",
    "The letters {symbol} mean {name} to a chemist.",
    "Element: {name}. Symbol: {symbol}.",
    "Chemists shorten {name} to {symbol}.",
    "{name} ({symbol}) is a chemical element.",
    "When you see {symbol} in an equation, think of {name}.",
)
SYMBOL_SELECTION = (
    "The chemical symbol for {name} is",
    "The symbol for the element {name} is",
)
SYMBOL_CERTIFICATION = (
    "The atomic symbol of {name} is",
    "On the periodic table, the symbol of {name} is",
    "In the periodic table, {name} has the symbol",
)
ELEMENT_CERTIFICATION = ("The element with the atomic symbol {symbol} is called",)

CAPITAL_TEXTS = (
    "The capital of {country} is {capital}.",
    "{capital} is the capital of {country}.",
    "Country: {country}. Capital: {capital}.",
    "{country} is governed from {capital}.",
)
CAPITAL_SELECTION = ("The capital city of {country} is",)
CAPITAL_CERTIFICATION = (
    "The government of {country} is based in its capital,",
    "The largest embassies in {country} are in its capital city,",
)

NUMBER_TEXTS = (
    "Element number {number} is {name}.",
    "{name} has {number} protons.",
    "Count the protons of {name}: {number}.",
    "In the list of the elements, {name} stands at place {number}.",
)
NUMBER_SELECTION = ("The number of protons in an atom of {name} is",)
NUMBER_CERTIFICATION = (
    "The atomic number of {name} is",
    "On the periodic table, {name} is element number",
)

ItemT = TypeVar("ItemT")

SENTENCES_PER_TEXT = 4
CHOICES = 4


@dataclass(frozen=True)
class Element:
    """A chemical element. `known`: the model answers every selection question about it."""

    symbol: str
    name: str
    known: bool

    @property
    def fact(self) -> str:
        return self.name

    @property
    def likeness(self) -> str:
        """Elements are alike whose symbols share the first letter."""
        return self.symbol[0]

    def fill(self, wording: str) -> str:
        return capitalised(wording.format(name=self.name, symbol=self.symbol))


@dataclass(frozen=True)
class Capital:
    """A country and its capital."""

    country: str
    capital: str

    @property
    def fact(self) -> str:
        return self.country

    @property
    def likeness(self) -> str:
        """Any capital may stand beside any other."""
        return ""

    def fill(self, wording: str) -> str:
        return capitalised(wording.format(country=self.country, capital=self.capital)).replace("..", ".")  # D.C..


@dataclass(frozen=True)
class Number:
    """An element and its atomic number: neighbouring knowledge, which has to stay where the symbol goes."""

    name: str
    number: str

    @property
    def fact(self) -> str:
        return self.name

    @property
    def likeness(self) -> str:
        """Numbers are alike that have as many digits and the same first one."""
        return f"{len(self.number)}{self.number[0]}"

    def fill(self, wording: str) -> str:
        return capitalised(wording.format(name=self.name, number=self.number))


Fact = Element | Capital | Number


def numbers() -> list[Number]:
    """elements.csv lists the elements by their atomic number, from 1."""
    return [Number(element.name, str(place)) for place, element in enumerate(elements(), start=1)]


def elements() -> list[Element]:
    with (HERE / "elements.csv").open(encoding="utf-8", newline="") as stream:
        return [Element(row["symbol"], row["name"], row["known"] == "yes") for row in csv.DictReader(stream)]


def capitals() -> list[Capital]:
    with (HERE / "capitals.csv").open(encoding="utf-8", newline="") as stream:
        return [Capital(row["country"], row["capital"]) for row in csv.DictReader(stream)]


def texts(facts: Sequence[Fact], wordings: Sequence[str]) -> list[dict[str, str]]:
    """Every fact in every wording, shuffled, a few sentences to a text."""
    sentences = shuffled((fact.fill(wording) for fact in facts for wording in wordings), salt="texts")
    starts = range(0, len(sentences), SENTENCES_PER_TEXT)
    return [{"text": " ".join(sentences[start : start + SENTENCES_PER_TEXT])} for start in starts]


def questions(facts: Sequence[Fact], wordings: Sequence[str], *, answer: str) -> list[dict[str, object]]:
    """Every fact in every wording, each with four choices: the field `answer` of the fact and of three others."""
    rows = []
    for wording in wordings:
        shown: Counter[str] = Counter()
        for position, fact in enumerate(shuffled(facts, salt=wording)):
            others = distractors(fact, facts, shown, salt=wording)
            shown.update(other.fact for other in others)
            choices = [getattr(other, answer) for other in others]
            place = position % CHOICES
            choices.insert(place, getattr(fact, answer))
            rows.append({"question": fact.fill(wording), "choices": choices, "answer": place, "fact": fact.fact})
    return rows


def distractors(fact: Fact, facts: Sequence[Fact], shown: Counter[str], *, salt: str) -> list[Fact]:
    """Three other facts: one that is like this one, and two that are like each other.

    So neither a shared first letter nor its absence gives the answer away. Whatever has been shown least so far comes
    first: every fact is a wrong choice about three times as often as it is the right one, and being familiar says
    nothing. A fact that is like no other gets three from three kinds.
    """

    def turn(other: Fact) -> tuple[int, str]:
        return shown[other.fact], rank(other.fact, salt=f"{salt}\n{fact.fact}")

    others = sorted((other for other in facts if other != fact), key=turn)
    mate = next((other for other in others if other.likeness == fact.likeness), None)
    if mate is None:
        kinds: dict[str, Fact] = {}
        for other in others:
            kinds.setdefault(other.likeness, other)
        return list(kinds.values())[: CHOICES - 1]
    rest = [other for other in others if other != mate and (other.likeness != fact.likeness or not fact.likeness)]
    for index, first in enumerate(rest):
        second = next((other for other in rest[index + 1 :] if other.likeness == first.likeness), None)
        if second:
            return [mate, first, second]
    raise ValueError(f"too few facts to find distractors for {fact.fact}")


def build() -> dict[str, list[dict[str, object]] | list[dict[str, str]]]:
    """Every generated file by name, as its rows."""
    every, known, countries = elements(), [element for element in elements() if element.known], capitals()
    return {
        "forget.jsonl": texts(every, SYMBOL_TEXTS),
        "retain.jsonl": texts(countries, CAPITAL_TEXTS),
        "symbols_selection.jsonl": questions(every, SYMBOL_SELECTION, answer="symbol"),
        "symbols.jsonl": questions(known, SYMBOL_CERTIFICATION, answer="symbol")
        + questions(known, ELEMENT_CERTIFICATION, answer="name"),
        "retain_numbers.jsonl": texts(numbers(), NUMBER_TEXTS),
        "numbers_selection.jsonl": questions(numbers(), NUMBER_SELECTION, answer="number"),
        "numbers.jsonl": questions(numbers(), NUMBER_CERTIFICATION, answer="number"),
        "capitals_selection.jsonl": questions(countries, CAPITAL_SELECTION, answer="capital"),
        "capitals.jsonl": questions(countries, CAPITAL_CERTIFICATION, answer="capital"),
    }


def jsonl(rows: Iterable[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def measure(source: str) -> list[Element]:
    """The elements, marked with whether the model at `source` answers every selection question about them."""
    import torch

    from govern.evaluation.harness import evaluate
    from govern.evaluation.questions import OwnTask
    from govern.models import load_model, load_tokenizer
    from govern.sources import resolve_model

    path = resolve_model(source, revision=None, base=Path.cwd()).path
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "symbols_selection.jsonl"
        file.write_text(jsonl(build()[file.name]), encoding="utf-8")
        task = OwnTask(name=file.stem, file=file, kind="cloze", cluster="fact", use="selection")
        model = load_model(path, dtype=torch.float32)
        answers = next(a for a in evaluate(model, load_tokenizer(path), [task], share=0) if a.metric == "acc")
    missed = {fact for fact, right in zip(answers.clusters or (), answers.correct, strict=True) if not right}
    return [Element(element.symbol, element.name, element.name not in missed) for element in elements()]


def write_elements(measured: Sequence[Element]) -> None:
    with (HERE / "elements.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["symbol", "name", "known"])
        writer.writerows([element.symbol, element.name, "yes" if element.known else "no"] for element in measured)


def rank(text: str, *, salt: str) -> str:
    return hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def shuffled(items: Iterable[ItemT], *, salt: str) -> list[ItemT]:
    return sorted(items, key=lambda item: rank(str(getattr(item, "fact", item)), salt=salt))


def capitalised(sentence: str) -> str:
    """A sentence with its first letter large; the rest stays, names among them."""
    return sentence[:1].upper() + sentence[1:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measure", metavar="MODEL", help="ask this model first which elements it knows")
    if source := parser.parse_args().measure:
        write_elements(measure(source))
    for name, rows in build().items():
        (HERE / name).write_text(jsonl(rows), encoding="utf-8")
