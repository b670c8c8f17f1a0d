"""docs/methods.md against the registry: every method, its scope, and the defaults that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from govern.unlearning.registry import METHODS
from govern.unlearning.whole_model.settings import Passes, WholeModel

GUIDE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
OURS = {name: each for name, each in METHODS.items() if issubclass(each.kinds[0], WholeModel)}
SHARED = {"method", "steps", "weight_decay", "lora_rank", "train", "dtype", "batch_size", "seed"}
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in GUIDE.splitlines() if line.startswith("| `")]


def test_every_method_and_its_scope():
    scopes = {row[0].strip("`"): row[1] for row in ROWS if len(row) == 4}
    assert scopes == {name: each.scope for name, each in OURS.items()}


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 3], ids=lambda row: row[0])
def test_every_default_and_what_a_step_costs(row):
    name = row[0].strip("`")
    settings = OURS[name].settings({"method": name})
    named = re.findall(r"`(\w+)` (?:\S+ )?([\d.e-]+)(?:,|$)", row[1])
    assert len(named) == row[1].count("`") // 2
    for field, value in named:
        assert getattr(settings, field) == float(value), field
    own = set(type(settings).model_fields) - SHARED
    assert own <= {field for field, _ in named}
    if passes := re.match(r"(\d+), (\d+)", row[2]):
        assert settings.passes == Passes(int(passes[1]), int(passes[2]))
