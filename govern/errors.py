"""Errors a user can meet: each says what happened, where, and what to do next.

Anything that is not a `GovernError` is a defect of ours and may show a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The one table of exit codes. They are never overloaded."""

    OK = 0
    ERROR = 1
    USAGE = 2
    GATE_FAILED = 3
    INTEGRITY = 4
    INCONCLUSIVE = 5
    INTERRUPTED = 6


class GovernError(Exception):
    """An error with a remedy.

    `message` says what happened; `where` names a file:line:column, a field or a digest; `hint` says what to do next.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n{self.hint}" if self.hint else head


class UsageError(GovernError):
    """A command was given something that it cannot use."""

    exit_code = ExitCode.USAGE


class PolicyError(GovernError):
    """A policy is invalid. `where` is file:line:column."""

    exit_code = ExitCode.USAGE


class PolicyErrors(PolicyError):
    """Several findings in one policy, in the order of the file."""

    def __init__(self, findings: list[PolicyError]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class SourceError(GovernError):
    """A model or a text cannot be had from its source."""


class IntegrityError(GovernError):
    """An artefact is not what its digest or its signature says."""

    exit_code = ExitCode.INTEGRITY


class RemovalError(GovernError):
    """A method cannot do what the policy asks of this model, or diverged."""


class Interrupted(GovernError):
    """A run stopped half-way and can be resumed."""

    exit_code = ExitCode.INTERRUPTED


@contextmanager
def at(place: Path | str) -> Iterator[None]:
    """Name the file, or whatever else the bytes came from, in what goes wrong within."""
    try:
        yield
    except IntegrityError as error:
        where = str(place) if error.where in (None, str(place)) else f"{place} ({error.where})"
        raise IntegrityError(error.message, where=where, hint=error.hint) from None
