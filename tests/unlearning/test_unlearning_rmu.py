from __future__ import annotations

import pytest
import torch
from plain_algorithm import transcription
from tiny_removal import BASE, TOPICS, request, run, same

from govern.errors import RemovalError
from govern.unlearning.batches import generator

SHARED = {key: value for key, value in BASE.items() if key not in {"method", "solver", "coefficient"}}
RMU = {**SHARED, "method": "rmu", "coefficient": 6.0}
ADAPTIVE = {**SHARED, "method": "adaptive_rmu", "scale": 3.0}
PINNED_RMU = [
    (1.38606811, 0.0),
    (1.29539263, 0.00355167431),
    (1.32755888, 0.00778432703),
    (1.45200169, 0.0108240834),
    (0.979927063, 0.0135624502),
    (1.24869144, 0.0254137367),
    (1.03648281, 0.0187627207),
]
PINNED_ADAPTIVE = [
    (3.03567481, 0.0),
    (2.93409681, 0.0034673668),
    (2.8857379, 0.00873809494),
    (2.98037028, 0.0141093116),
    (2.39462662, 0.021302361),
    (2.65352559, 0.0373791829),
    (2.39799905, 0.0316476263),
]


def rmu_target(settings, _v_f, v_r, _first, random):
    u = torch.rand(len(v_r), generator=random, dtype=torch.float64)
    return (settings.coefficient * u / u.norm()).float()


def adaptive_target(settings, _v_f, _v_r, first, random):
    u = torch.rand(first.shape[1], generator=random, dtype=torch.float64)
    return (settings.scale * first.norm(dim=1).mean() * u / u.norm()).float()


@pytest.mark.parametrize(("base", "target"), [(RMU, rmu_target), (ADAPTIVE, adaptive_target)])
@pytest.mark.parametrize("topics", [TOPICS[:1], TOPICS])
def test_the_losses_are_those_of_a_plain_transcription(tiny, base, target, topics):
    asked = request(tiny("llama"), base, topics=topics)
    edit = run(asked)
    losses, weights = transcription(tiny("llama"), topics, asked.settings, target)
    assert [(point.forget_loss, point.retain_loss) for point in edit.curve] == [
        pytest.approx(pair, rel=1e-4, abs=1e-7) for pair in losses
    ]
    for name, weight in weights.items():
        torch.testing.assert_close(edit.tensors[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("base", "pinned"), [(RMU, PINNED_RMU), (ADAPTIVE, PINNED_ADAPTIVE)])
def test_the_losses_are_pinned(tiny, base, pinned):
    edit = run(request(tiny("llama"), base))
    assert [(point.forget_loss, point.retain_loss) for point in edit.curve] == [
        pytest.approx(pair, rel=1e-5, abs=1e-9) for pair in pinned
    ]


def test_rmu_aims_at_the_coefficient_whatever_the_text(tiny):
    figures = run(request(tiny("llama"), RMU, topics=TOPICS)).figures
    for topic in TOPICS:
        assert figures[f"{topic.name}.target_norm"] == pytest.approx(6.0)
        assert figures[f"{topic.name}.coefficient"] == 6.0


def test_each_topic_has_its_own_direction():
    first, second = (torch.rand(8, generator=generator(f"3/{topic.name}/direction")) for topic in TOPICS)
    assert not torch.equal(first, second)


def test_adaptive_rmu_measures_the_first_batch_alone(tiny):
    short, long = (run(request(tiny("llama"), ADAPTIVE, steps=steps)).figures for steps in (1, 9))
    assert short["bio.coefficient"] == long["bio.coefficient"] == pytest.approx(3 * long["bio.mean_norm"])


def test_adaptive_rmu_is_rmu_with_its_coefficient(tiny):
    adaptive = run(request(tiny("llama"), ADAPTIVE))
    fixed = run(request(tiny("llama"), RMU, coefficient=adaptive.figures["bio.coefficient"]))
    same(adaptive, fixed)


def test_srmu_with_a_uniform_map_along_a_uniform_direction_is_rmu(tiny):
    srmu = run(request(tiny("llama"), importance="uniform", direction="uniform01"))
    rmu = run(request(tiny("llama"), RMU))
    for ours, theirs in zip(srmu.curve, rmu.curve, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)


@pytest.mark.parametrize(("base", "field"), [(RMU, "coefficient"), (ADAPTIVE, "scale")])
def test_a_sweep_has_to_choose_first(tiny, base, field):
    with pytest.raises(RemovalError, match="sweep") as caught:
        run(request(tiny("llama"), base, **{field: {"sweep": {"start": 1, "stop": 170, "step": 10}}}))
    assert caught.value.where == f"removal.{field}"
