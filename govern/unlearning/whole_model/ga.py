"""Gradient ascent (Jang et al. 2023, arXiv 2210.01504): the training loss on the forget text, with its sign turned.

    L = −CE(θ; forget)

Nothing bounds it and nothing keeps the rest: it is the baseline that the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterator

from govern.unlearning.memory import memory_advice
from govern.unlearning.protocol import Edit, Request
from govern.unlearning.whole_model.loop import Term, Turn, minimise
from govern.unlearning.whole_model.settings import GaSettings
from govern.unlearning.whole_model.student import Student


@memory_advice()
def ga(request: Request[GaSettings]) -> Edit:
    """Ascend the loss on the forget text. Raises as `minimise` does."""
    return minimise(ga_loss, request)


def ga_loss(student: Student, turn: Turn, _settings: GaSettings) -> Iterator[Term]:
    """−CE on the forget batch."""
    yield Term("forget", -1.0, student.read(turn.forget).loss())
