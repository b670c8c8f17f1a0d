from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting_records import CAPITALS, PERPLEXITY, SYMBOLS, interval, make_removal, result_of

from govern.reporting.charts import curve_charts, gate_chart, result_chart, round_ticks, sample


def test_a_ceiling_allows_what_lies_below_it() -> None:
    chart = gate_chart(SYMBOLS, chance=0.25)
    assert (chart.before.at, chart.after.at, chart.bound, chart.chance) == ("97.20", "24.30", "28.36", "25.00")
    assert chart.band is not None
    assert (chart.band.at, chart.band.width, chart.band.limit) == ("0.00", "40.00", "40.00")
    assert (chart.after.low, chart.after.high, chart.after.width) == ("19.70", "29.10", "9.40")


def test_a_floor_allows_what_lies_above_it() -> None:
    chart = gate_chart(CAPITALS.model_copy(update={"kind": "floor", "threshold": 0.55, "bound": 0.945}), chance=None)
    assert chart.band is not None
    assert (chart.band.at, chart.band.width, chart.band.limit) == ("55.00", "45.00", "55.00")
    assert chart.bound == "94.50"
    assert chart.chance is None


def test_a_drop_is_carried_over_to_the_scale_of_accuracy() -> None:
    chart = gate_chart(CAPITALS, chance=0.25)
    assert chart.band is not None
    assert (chart.band.at, chart.band.limit) == ("92.60", "92.60")  # 97.6 − 5.0
    assert chart.bound == "95.67"  # 97.6 − 1.93


def test_a_perplexity_has_a_scale_of_its_own() -> None:
    chart = gate_chart(PERPLEXITY, chance=None)
    assert chart.band is not None
    assert chart.band.at == "0.00"
    assert float(chart.before.low) > 0
    assert float(chart.after.high) < 100
    assert float(chart.before.at) < float(chart.after.at) < float(chart.bound or 0) < float(chart.band.limit)
    assert [tick.label for tick in chart.ticks] == ["26", "28", "30"]


def test_a_missing_bound_stays_inside_the_picture() -> None:
    endless = PERPLEXITY.model_copy(update={"bound": 1e308, "after_interval": interval(25.0, 1e308)})
    chart = gate_chart(endless, chance=None)
    assert chart.bound == "100.00"
    assert chart.after.high == "100.00"
    assert 0 < float(chart.before.at) < 100


def test_a_result_has_no_band() -> None:
    chart = result_chart(result_of(SYMBOLS))
    assert chart.band is None
    assert chart.chance == "25.00"


def test_curves_have_one_trace_a_topic() -> None:
    curve = make_removal().curve
    mixed = tuple(point.model_copy(update={"topic": "ab"[point.step % 2]}) for point in curve)
    forget, retain = curve_charts(mixed)
    assert [trace.topic for trace in forget.traces] == ["a", "b"]
    assert len(forget.traces[0].points.split()) == 30
    assert (forget.name, retain.name) == ("Forget loss", "Retain loss")
    assert forget.traces[0].points.startswith("0.0,47.6 ")  # the greatest loss lies 5 % below the top


@pytest.mark.parametrize("length", [0, 1])
def test_a_single_point_is_no_curve(length: int) -> None:
    assert curve_charts(make_removal().curve[:length]) == ()


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 8))
def test_ticks_are_round_and_inside(low: float, span: float, about: int) -> None:
    high = low + span
    if high <= low:
        return
    ticks = round_ticks(low, high, about)
    step = (high - low) / about
    assert len(ticks) <= 2 * about + 1
    assert all(low - 1e-6 * step <= tick <= high + 1e-6 * step for tick in ticks)


@given(st.integers(0, 500), st.integers(2, 12))
def test_a_sample_has_both_ends(length: int, at_most: int) -> None:
    indices = sample(length, at_most)
    assert len(indices) == len(set(indices)) == min(length, at_most)
    if length:
        assert (indices[0], indices[-1]) == (0, length - 1)


def test_a_method_that_does_not_look_at_retain_text_has_no_curve_of_it():
    curve = [point.model_copy(update={"retain_loss": None}) for point in make_removal().curve]
    (forget,) = curve_charts(curve)
    assert forget == curve_charts(make_removal().curve)[0]
