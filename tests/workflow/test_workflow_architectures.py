"""Each causal architecture of transformers is exact all the way, or the plan refuses it and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import NotTiny, Row, names, walk

# What a method finds out from the weights themselves, which no plan reads: it is refused before anything is written.
FROM_WEIGHTS = ("is not linear in this weight", "is a Conv1D, not one linear map")
QUICK = ("llama", "mamba2")


def through(name: str, folder: Path) -> Row:
    try:
        return walk(name, folder)
    except NotTiny as reason:
        pytest.skip(f"cannot be made tiny by its sizes: {reason}")


def defects(row: Row) -> dict[str, str]:
    """What is neither exact nor refused in time."""
    return {
        method: said
        for method, said in row.outcomes.items()
        if said != "exact" and not said.startswith("refused: ") and not any(words in said for words in FROM_WEIGHTS)
    }


@pytest.mark.parametrize("name", QUICK)
def test_what_is_certified_is_what_is_exported(name: str, tmp_path: Path) -> None:
    row = walk(name, tmp_path, attacks=False)
    assert set(row.outcomes.values()) == {"exact"}


@pytest.mark.architectures
@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_architecture_is_exact_or_refused_in_the_plan(name: str, tmp_path: Path) -> None:
    assert defects(through(name, tmp_path)) == {}


def test_there_are_enough_of_them() -> None:
    assert len(names()) >= 60
