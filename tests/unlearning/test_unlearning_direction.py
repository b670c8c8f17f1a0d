from __future__ import annotations

import pytest
import torch

from govern.unlearning.batches import generator
from govern.unlearning.direction import direction

KINDS = ("rademacher", "ones", "minus_ones", "uniform01", "zero")
SIZE = 576


def make(kind, scale="raw", name="v"):
    return direction(kind, SIZE, scale=scale, generator=generator(name))


def test_each_direction_has_its_defining_property():
    v = {kind: make(kind) for kind in KINDS}
    assert set(v["rademacher"].tolist()) == {-1.0, 1.0}
    assert abs(float(v["rademacher"].mean())) < 0.15
    assert set(v["ones"].tolist()) == {1.0}
    assert torch.equal(v["minus_ones"], -v["ones"])
    assert (v["uniform01"] >= 0).all()
    assert (v["uniform01"] < 1).all()
    assert len(set(v["uniform01"].tolist())) == SIZE
    assert set(v["zero"].tolist()) == {0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_unit_and_raw_differ_by_the_norm_alone(kind):
    unit, raw = make(kind, "unit"), make(kind, "raw")
    assert float(unit.norm()) == pytest.approx(0.0 if kind == "zero" else 1.0)
    torch.testing.assert_close(unit * raw.norm(), raw)


def test_raw_rademacher_is_longer_by_the_root_of_the_width():
    assert float(make("rademacher").norm()) == pytest.approx(SIZE**0.5)


def test_the_direction_follows_from_its_generator():
    assert torch.equal(make("rademacher"), make("rademacher"))
    assert not torch.equal(make("rademacher"), make("rademacher", name="w"))
