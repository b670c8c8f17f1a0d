"""MUSE: machine unlearning six-way evaluation (Shi et al. 2024, arXiv 2407.06460), with its public code's metrics.

    verbatim    ROUGE-L F1 between how the model goes on from a passage to forget and how the passage does
    knowledge   ROUGE-L F1 of answers after ten worked examples, about what has to go and what has to stay
    privacy     A = P(forget text surprises more than text that was never seen), by Min-K%: the mean over the 40 % of
                tokens that surprise most (Shi et al. 2023, arXiv 2310.16789); leakage A / A_retained − 1: near −1 where
                the text is still known, above 0 where it surprises more than it would had it never been seen

Utility is the knowledge about what stays. Scalability and sustainability are several runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from govern.corpora import put
from govern.digests import canonical_digest
from govern.evaluation.packs.metrics import Array, mean_figure, resampled, rouge_l
from govern.evaluation.packs.protocol import Asked, Reader, Replies
from govern.evaluation.packs.rows import limited, read_rows
from govern.records import Figure

_SHARE = 0.4  # K of Min-K%
_LONGEST_TEXT = 2048  # tokens, as in the public code
_STOPS = ("\n\n", "\nQuestion", "Question:")
_QUESTIONS = 100

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Muse:
    """MUSE's files of one corpus: `verbmem/forget`, `knowmem/{forget,retain}_qa[_icl]`, `privleak/{forget,holdout}`."""

    splits: ClassVar[tuple[str, ...]] = ()

    passages: Pairs
    knowledge: dict[str, Pairs]
    examples: dict[str, str]
    texts: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, folder: Path, asked: Asked) -> Muse:
        """Read the seven `.json` files. Raises UsageError naming the file and the entry."""
        published = None if asked.part else _QUESTIONS

        def pairs(stem: str, first: str, second: str, *, count: int | None = published) -> Pairs:
            rows = read_rows(folder / f"{stem}.json", published=count)
            found = {row.where: (row.text(first), row.text(second)) for row in rows}
            return tuple(found[row.where] for row in limited(rows, asked.limit))

        examples = {}
        for side in ("forget", "retain"):
            shown = read_rows(folder / f"knowmem/{side}_qa_icl.json", published=None)
            examples[side] = "".join(f"{put(row.text('question'))} {row.text('answer')}\n\n" for row in shown)
        texts = {}
        for side in ("forget", "holdout"):
            rows = read_rows(folder / f"privleak/{side}.json", published=None)
            texts[side] = tuple(row.text("text") for row in limited(rows, asked.limit))
        return cls(
            passages=pairs("verbmem/forget", "prompt", "gt", count=None),
            knowledge={side: pairs(f"knowmem/{side}_qa", "question", "answer") for side in ("forget", "retain")},
            examples=examples,
            texts=texts,
        )

    @property
    def questions(self) -> dict[str, int]:
        """How many questions each set has."""
        asked = {f"knowledge_{side}": len(pairs) for side, pairs in self.knowledge.items()}
        return {"verbatim": len(self.passages), **asked, **{f"privacy_{s}": len(t) for s, t in self.texts.items()}}

    @property
    def digest(self) -> str:
        """SHA-256 over every passage, question, answer, example and text, in order."""
        return canonical_digest([self.passages, self.knowledge, self.examples, self.texts])

    def ask(self, reader: Reader) -> Replies:
        """Let the model go on and answer, and read it the texts."""
        said = reader.continuations([prompt for prompt, _ in self.passages], most=128)
        replies = {"verbatim": tuple(map(_f1, (passage for _, passage in self.passages), said))}
        for side, pairs in self.knowledge.items():
            prompts = [f"{self.examples[side]}{put(question)}" for question, _ in pairs]
            answers = [_until(text, _STOPS) for text in reader.continuations(prompts, most=32)]
            replies[f"knowledge.{side}"] = tuple(map(_f1, (answer for _, answer in pairs), answers))
        for side, texts in self.texts.items():
            surprises = reader.surprises(texts, most=_LONGEST_TEXT)
            replies[f"privacy.{side}"] = tuple(map(most_surprising, surprises))
        return replies

    def figures(self, replies: Replies, retained: Replies | None, *, confidence: float) -> tuple[Figure, ...]:
        """Verbatim memory, knowledge of both sides, and privacy leakage where there is a model to compare with."""
        found = [
            mean_figure(name, replies[name], confidence=confidence)
            for name in ("verbatim", "knowledge.forget", "knowledge.retain")
        ]
        sides = [replies[f"privacy.{side}"] for side in self.texts]
        interval = resampled(_auc, sides, confidence=confidence)
        n = sum(map(len, sides))
        found.append(Figure(name="privacy.auc", value=more_surprising(*sides), interval=interval, n=n))
        if retained is not None and (then := more_surprising(*(retained[f"privacy.{side}"] for side in self.texts))):
            leakage = more_surprising(*sides) / then - 1
            # of other questions for this model; the retained one's share is taken as it is
            bounds = resampled(lambda drawn: _auc(drawn) / then - 1, sides, confidence=confidence)
            found.append(Figure(name="privacy.leakage", value=leakage, interval=bounds, n=n))
        return tuple(found)


def most_surprising(surprises: Sequence[float]) -> float:
    """The mean over the share of tokens that surprise most, at least one."""
    ordered = sorted(surprises, reverse=True)
    count = max(int(len(ordered) * _SHARE), 1)
    return sum(ordered[:count]) / count


def more_surprising(first: Sequence[float], second: Sequence[float]) -> float:
    """P(one of the first is above one of the second), ties half: the area under the ROC curve."""
    above, equal = (op(np.asarray(first)[:, None], np.asarray(second)[None]) for op in (np.greater, np.equal))
    return float(above.mean() + equal.mean() / 2)


def _auc(drawn: Sequence[Array]) -> float:
    return more_surprising(*(column.tolist() for column in drawn))


def _f1(reference: str, said: str) -> float:
    return rouge_l(reference, said, stem=False).f1


def _until(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text
