"""TOFU: a task of fictitious unlearning (Maini et al. 2024, arXiv 2401.06121), with the metrics of its public code.

A model that was fine-tuned on 200 invented authors has to lose some of them. Per question, a = its answer, ã = a
paraphrase of it, â = wrong answers of the same form (for real authors and world facts ã = a), and P̄(a|q) =
P(a|q)^(1/|a|) over the answer's tokens and the end of text:

    probability   P̄(a|q), and P̄(a|q) / (P̄(a|q) + Σ P̄(â|q)) where answers are those of a quiz
    rouge         ROUGE-L recall of the greedy answer
    truth ratio   R = (Π P̄(â|q))^(1/n) / P̄(ã|q): the paper writes the arithmetic mean of the n wrong answers, its code
                  and so all published figures take the geometric one. Reported is min(R, 1/R) on forget questions and
                  max(0, 1 − R) on the others, as the code does.

Model utility is the harmonic mean of the three over retain questions, real authors and world facts; forget quality is
the p-value of the two-sample Kolmogorov–Smirnov test between the truth ratios on forget questions of this model and of
one that was never trained on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from govern.corpora import put
from govern.digests import canonical_digest
from govern.evaluation.packs.metrics import Array, harmonic_mean, mean_figure, resampled, rouge_l
from govern.evaluation.packs.protocol import Asked, Reader, Replies
from govern.evaluation.packs.rows import Row, limited, read_rows
from govern.records import Figure

_FORGET = {"forget01": 40, "forget05": 200, "forget10": 400}
_OTHERS = {"retain": 400, "real_authors": 100, "world_facts": 117}
_QUIZZES = ("real_authors", "world_facts")
_MEASURES = ("probability", "rouge", "log_truth_ratio")
_LONGEST_ANSWER = 128  # tokens; the longest of TOFU's own has about 110


@dataclass(frozen=True)
class Item:
    """A question, its answer, the answer in the form of the wrong ones, and wrong answers."""

    question: str
    answer: str
    paraphrase: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Tofu:
    """TOFU's questions: `forget`, `retain`, `real_authors` and `world_facts`, from the files `*_perturbed.jsonl`."""

    splits: ClassVar[tuple[str, ...]] = tuple(_FORGET)

    sets: dict[str, tuple[Item, ...]]

    @classmethod
    def load(cls, folder: Path, asked: Asked) -> Tofu:
        """Read `SPLIT_perturbed.jsonl` and the three others. Raises UsageError naming file:line."""
        split = asked.split or ""
        files = {"forget": (split, _FORGET[split])} | {name: (name, count) for name, count in _OTHERS.items()}
        sets = {}
        for name, (stem, count) in files.items():
            rows = read_rows(folder / f"{stem}_perturbed.jsonl", published=None if asked.part else count)
            items = {row.where: _item(row, quiz=name in _QUIZZES) for row in rows}
            sets[name] = tuple(items[row.where] for row in limited(rows, asked.limit))
        return cls(sets)

    @property
    def questions(self) -> dict[str, int]:
        """How many questions each set has."""
        return {name: len(items) for name, items in self.sets.items()}

    @property
    def digest(self) -> str:
        """SHA-256 over every question and answer, in order."""
        return canonical_digest(
            {name: [[i.question, i.answer, i.paraphrase, *i.wrong] for i in items] for name, items in self.sets.items()}
        )

    def ask(self, reader: Reader) -> Replies:
        """Read every answer's likelihood and let the model answer, for each set `SET.MEASURE`."""
        every = [item for items in self.sets.values() for item in items]
        pairs = [(i.question, text) for i in every for text in (i.answer, i.paraphrase, *i.wrong)]
        likelihoods = iter(reader.likelihoods(pairs))
        said = iter(reader.continuations([put(item.question) for item in every], most=_LONGEST_ANSWER))
        replies: dict[str, tuple[float, ...]] = {}
        for name, items in self.sets.items():
            rows = []
            for item in items:
                answer, paraphrase = next(likelihoods), next(likelihoods)
                wrong = [next(likelihoods) for _ in item.wrong]
                probability = among(answer, wrong) if name in _QUIZZES else math.exp(answer)
                rouge = rouge_l(item.answer, next(said), stem=True).recall
                rows.append((probability, rouge, log_truth_ratio(paraphrase, wrong)))
            for measure, column in zip(_MEASURES, zip(*rows, strict=True), strict=True):
                replies[f"{name}.{measure}"] = tuple(column)
        return replies

    def figures(self, replies: Replies, retained: Replies | None, *, confidence: float) -> tuple[Figure, ...]:
        """Forget quality (where there is a model to compare with), model utility, and all that it is made of."""
        found = []
        if retained is not None:
            column = replies["forget.log_truth_ratio"]
            p = forget_quality(column, retained["forget.log_truth_ratio"])
            found.append(Figure(name="forget_quality", value=p, interval=None, n=len(column)))
        columns = {name: _scored(name, values) for name, values in replies.items()}
        parts = [values for name, values in columns.items() if not name.startswith("forget.")]
        interval = resampled(_utility, parts, confidence=confidence)
        n = sum(len(items) for name, items in self.sets.items() if name != "forget")
        found.append(Figure(name="utility", value=_utility([np.asarray(p) for p in parts]), interval=interval, n=n))
        for name, values in columns.items():
            found.append(mean_figure(name.replace("log_truth_ratio", "truth_ratio"), values, confidence=confidence))
        return tuple(found)


def among(right: float, wrong: Sequence[float]) -> float:
    """The probability of the right answer among all of them, from mean log-likelihoods."""
    return 1 / (1 + sum(math.exp(min(each - right, 700.0)) for each in wrong))


def log_truth_ratio(paraphrase: float, wrong: Sequence[float]) -> float:
    """The logarithm of R, from mean log-likelihoods: above 0 where wrong answers are likelier than the right one."""
    return sum(wrong) / len(wrong) - paraphrase


def forget_quality(edited: Sequence[float], retained: Sequence[float]) -> float:
    """The p-value of the two-sided two-sample KS test, exact. The test sees ranks alone, so R and log R are one."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(edited, retained).pvalue)


def _scored(name: str, values: Sequence[float]) -> list[float]:
    """A measure as it is reported."""
    if not name.endswith("log_truth_ratio"):
        return list(values)
    if name.startswith("forget."):
        return [math.exp(-abs(value)) for value in values]
    return [max(0.0, -math.expm1(value)) if value < 0 else 0.0 for value in values]


def _utility(parts: Sequence[Array]) -> float:
    return harmonic_mean([float(part.mean()) for part in parts])


def _item(row: Row, *, quiz: bool) -> Item:
    question, answer = row.text("question"), row.text("answer")
    return Item(question, answer, answer if quiz else row.text("paraphrased_answer"), row.texts("perturbed_answer"))
