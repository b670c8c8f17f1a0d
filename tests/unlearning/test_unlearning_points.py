"""What a sweep rests on: a point is the edit that its settings give alone, and what points share is computed once."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny_removal import BASE, CLOSED, LONG, TOPICS, request, run, same

from govern.unlearning.activations import Window
from govern.unlearning.points import Points

ONE = {"train": {"modules": ["mlp.down_proj"], "layers": [2]}}


def grid(path, base, *, topics=TOPICS[:1], **axes):
    points = itertools.product(*axes.values())
    return [request(path, base, topics=topics, **dict(zip(axes, point, strict=True))) for point in points]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layers", [[2], [1, 2]])
def test_a_point_of_the_closed_form_is_the_edit_of_its_settings(tiny, dtype, layers):
    train = {"modules": ["mlp.down_proj"], "layers": layers}
    asked = grid(
        tiny("llama", dtype),
        {**CLOSED, "train": train, "ridge": 1e-3},
        topics=LONG,
        retain_weight=[2.0, 30.0],
        importance=["ratio", "product"],
        direction=["rademacher", "ones"],
        coefficient=[4.0, {"relative": 1.5}],
    )
    points = Points(asked[0])
    for each in asked:
        same(points.edit(each.settings), run(each))


def test_a_point_by_gradient_is_the_edit_of_its_settings(tiny):
    asked = grid(tiny("llama"), BASE, coefficient=[6.0, 12.0], importance=["ratio", "difference"], refresh_every=[0, 2])
    points = Points(asked[0])
    for each in asked:
        same(points.edit(each.settings), run(each))


def test_points_of_other_solvers_methods_and_layers_do_not_disturb_each_other(tiny):
    path = tiny("llama")
    plain = {key: value for key, value in BASE.items() if key not in ("solver", "coefficient")}
    asked = [
        request(path, BASE, topics=TOPICS),
        request(path, CLOSED, topics=TOPICS, batch_size=BASE["batch_size"]),
        request(path, plain, topics=TOPICS, method="rmu", coefficient=5.0),
        request(path, plain, topics=TOPICS, method="adaptive_rmu", scale=3.0),
        request(path, BASE, topics=TOPICS, **ONE),
        request(path, BASE, topics=TOPICS, seed=8),
        request(path, BASE, topics=TOPICS),
    ]
    points = Points(asked[0])
    for each in asked:
        same(points.edit(each.settings), run(each))


def test_the_trunk_runs_once_a_batch_and_the_closed_form_passes_over_the_text_once(tiny, monkeypatch):
    entered, enter = [], Window.enter
    monkeypatch.setattr(Window, "enter", lambda self, batch: entered.append(1) or enter(self, batch))
    stages = []
    axes = {"importance": ["ratio", "product"], "coefficient": [1.0, 2.0]}
    asked = grid(tiny("llama"), {**CLOSED, **ONE}, retain_weight=[1.0, 5.0], **axes)
    asked += grid(tiny("llama"), {**BASE, **ONE, "batch_size": 8}, **axes)
    topic = asked[0].topics[0]
    batches = -(-len(topic.forget.documents) // 8) + -(-len(topic.retain.documents) // 8)
    points = Points(
        request(tiny("llama"), {**CLOSED, **ONE}, progress=lambda stage, done, *_, **__: stages.append((stage, done)))
    )
    for each in asked:
        points.edit(each.settings)
    # The closed form deals the text by length and descent does not, so each has a trunk of its own.
    assert len(entered) == 2 * batches
    assert stages.count(("measure bio block 2", 1)) == 1
