"""How long work tells what it is doing. The engine reports; only the workflow writes events; only the CLI prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for steps of a named stage ("load model", "unlearn", "evaluate symbols")."""

    def __call__(self, stage: str, done: int, total: int, **values: float) -> None:
        """Report that `done` of `total` units of `stage` are finished, with current figures such as loss=1.2."""


def silent(stage: str, done: int, total: int, **values: float) -> None:
    """Report nothing."""


def labelled(progress: Progress, label: str) -> Progress:
    """The same listener, with each stage named after what it is part of."""

    def report(stage: str, done: int, total: int, **values: float) -> None:
        progress(f"{label}: {stage}", done, total, **values)

    return report
