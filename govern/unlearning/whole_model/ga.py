"""Gradient ascent (Jang et al. 2023, arXiv 2210.01504): the training loss on the forget text, with its sign turned.

    L = −CE(θ; forget)

Nothing bounds it and nothing keeps the rest: it is the baseline that the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.unlearning.whole_model.method import objective
from govern.unlearning.whole_model.settings import Objective
from govern.unlearning.whole_model.terms import Term, Turn

if TYPE_CHECKING:
    from govern.unlearning.whole_model.student import Student


class GaSettings(Objective):
    """Gradient ascent on the forget text."""

    method: Literal["ga"] = Field(description="The removal method.")


def ga_loss(student: Student, turn: Turn, _settings: GaSettings) -> Iterator[Term]:
    """−CE on the forget batch."""
    yield Term("forget", -1.0, student.read(turn.forget).loss())


METHOD = objective("ga", GaSettings, ga_loss)
