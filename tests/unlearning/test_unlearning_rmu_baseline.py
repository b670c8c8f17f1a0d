"""The benchmark's transcription of the public RMU loop says what `method: rmu` says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_removal import BASE, TOPICS, request

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from rmu_baseline import difference, ours, reference  # benchmarks/ is no package

RMU = {key: value for key, value in BASE.items() if key != "solver"} | {"method": "rmu"}


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_both_loops_give_the_same_losses(tiny, architecture):
    settings = request(tiny(architecture), RMU, mask="reference", steps=9).settings
    theirs = reference(tiny(architecture), TOPICS[0], settings)
    assert len(theirs) == 9
    assert difference(theirs, ours(tiny(architecture), TOPICS[0], settings)) < 1e-4


def test_the_difference_is_relative_to_the_largest_loss_of_a_kind():
    assert difference([(2.0, 0.0), (4.0, 1.0)], [(2.0, 0.0), (4.0, 0.5)]) == 1.0
    assert difference([(2.0, 0.0), (3.0, 0.5)], [(2.0, 0.0), (4.0, 0.5)]) == 0.25
