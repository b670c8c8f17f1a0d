"""A gradient's length is taken in parts, with the memory of one part."""

from __future__ import annotations

import torch

from govern.unlearning import memory


def test_the_parts_add_up_to_the_whole(monkeypatch):
    tensor = torch.randn(37, 11, generator=torch.Generator().manual_seed(0))
    whole = float(tensor.double().square().sum())
    assert memory.sum_of_squares(tensor) == whole
    monkeypatch.setattr(memory, "_AT_ONCE", 10)
    assert abs(memory.sum_of_squares(tensor) / whole - 1) < 1e-14
    assert memory.sum_of_squares(tensor.T) > 0


def test_no_copy_of_a_whole_gradient_is_made(monkeypatch):
    widened = []
    double = torch.Tensor.double

    def watched(self: torch.Tensor) -> torch.Tensor:
        widened.append(self.numel())
        return double(self)

    monkeypatch.setattr(torch.Tensor, "double", watched)
    memory.sum_of_squares(torch.ones(3 * memory._AT_ONCE + 1))
    assert max(widened) == memory._AT_ONCE
    assert sum(widened) == 3 * memory._AT_ONCE + 1
