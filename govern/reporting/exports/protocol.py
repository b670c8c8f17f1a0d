"""What an export is: the function that makes it, and what that asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

# The run's document; the report's page as it was signed; where the policy is, and each gate in it, then each attack
# with a limit; the waivers in force for the report.
Need = Literal["document", "page", "policy_uri", "places", "waivers"]


class Export(NamedTuple):
    """`write` is called with what it `needs`, by name, and returns a file's bytes, or a folder's files by name."""

    needs: tuple[Need, ...]
    write: Callable[..., bytes | Mapping[str, bytes]]


class GatePlace(NamedTuple):
    """Where a gate stands in its policy; line and column count from 1."""

    line: int
    column: int
