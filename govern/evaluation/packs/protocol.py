"""What a benchmark pack is, and where each one's code lives. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from govern.errors import UsageError
from govern.records import Figure

Replies = Mapping[str, tuple[float, ...]]
"""What a model's replies to a pack's questions measure: for each measure, one number a question."""


class Reader(Protocol):
    """A model that answers a pack's questions."""

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The mean log-likelihood (nats a token) of each answer after its question."""

    def continuations(self, prompts: Sequence[str], *, most: int) -> list[str]:
        """How the model goes on from each prompt, greedily, for at most so many tokens."""

    def surprises(self, texts: Sequence[str], *, most: int) -> list[list[float]]:
        """The negative log-likelihood (nats) of each token but the first of each text's first `most` tokens."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a pack's data.

    `split` is one of the pack's own, `limit` cuts each set to so many questions, and `part` allows another number of
    rows than the published one.
    """

    split: str | None = None
    limit: int | None = None
    part: bool = False


class Pack(Protocol):
    """A benchmark's questions, read from the user's folder, and what its metrics make of the replies."""

    splits: ClassVar[tuple[str, ...]]

    @classmethod
    def load(cls, folder: Path, asked: Asked) -> Pack:
        """Read and check the files. Raises UsageError naming file:line, never a text."""

    @property
    def questions(self) -> dict[str, int]:
        """How many questions each set has."""

    @property
    def digest(self) -> str:
        """SHA-256 over every question and answer, in order."""

    def ask(self, reader: Reader) -> Replies:
        """Put all questions to a model."""

    def figures(self, replies: Replies, retained: Replies | None, *, confidence: float) -> tuple[Figure, ...]:
        """The benchmark's figures for one model.

        `retained` are the replies of a model that never saw the forget text; figures that need them are left out
        where they are None.
        """


_PACKS = {
    "tofu": "govern.evaluation.packs.tofu:Tofu",
    "muse": "govern.evaluation.packs.muse:Muse",
    "rwku": "govern.evaluation.packs.rwku:Rwku",
    "whp": "govern.evaluation.packs.whp:Whp",
}


def load_pack(name: str, folder: Path, asked: Asked) -> Pack:
    """Read a pack's data from the user's folder. Raises UsageError for an unknown pack or split, or bad data."""
    if name not in _PACKS:
        raise UsageError(f"there is no benchmark pack {name}", hint=f"There is: {', '.join(_PACKS)}.")
    module, _, kind = _PACKS[name].partition(":")
    pack: Any = getattr(import_module(module), kind)
    known = pack.splits
    if known and asked.split not in known:
        said = "needs a split" if asked.split is None else f"has no split {asked.split}"
        raise UsageError(f"{name} {said}", where="--split", hint=f"Say one of: {', '.join(known)}.")
    if not known and asked.split is not None:
        raise UsageError(f"{name} has no splits", where="--split", hint="Leave --split out.")
    loaded: Pack = pack.load(folder, asked)
    return loaded
