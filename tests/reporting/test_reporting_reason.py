"""Why the parameters are what they are: the sweep's points, as a picture and as a table."""

from __future__ import annotations

from reporting_records import digest, make_arguments, make_removal, make_sweep, swept_arguments, view_of

from govern.reporting.charts import front_chart
from govern.reporting.render import render_html, render_markdown


def test_the_picture_has_every_scored_point_and_the_chosen_one_on_top() -> None:
    chart = front_chart(make_sweep())
    assert [spot.kind for spot in chart.spots] == ["other", "front", "front", "front", "chosen"]
    assert chart.spots[-1].x == "25.40"
    assert (chart.ceiling, chart.chance) == ("40.00", "25.00")
    # The front runs from the strongest forgetting to none, upwards in what is kept.
    places = [tuple(map(float, pair.split(","))) for pair in chart.front.split()]
    assert [x for x, _ in places] == [241.0, 254.0, 430.0, 910.0]
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)


def test_a_sweep_with_two_ceilings_draws_none() -> None:
    sweep = make_sweep()
    first = sweep.points[0]
    gates = (*first.gates, first.gates[0].model_copy(update={"threshold": 0.3}))
    points = (first.model_copy(update={"gates": gates}), *sweep.points[1:])
    assert front_chart(make_sweep(points=points)).ceiling is None


def test_the_table_has_every_point_a_broken_one_too() -> None:
    view = view_of(**swept_arguments())
    assert view.reason is not None
    assert [row[0].text for row in view.reason.table.rows] == [
        "0 (front)", "1 (front)", "2", "3 (chosen)", "4 (front)", "5",
    ]  # fmt: skip
    assert view.reason.table.rows[5][-1].text == "the loss exploded at step 3"
    assert [column.label for column in view.reason.table.columns[:3]] == ["Point", "Map", "c"]
    assert view.reason.table.rows[3][2].text == "5 × mean ‖h‖"


def test_a_long_table_keeps_the_front_and_the_choice() -> None:
    sweep = make_sweep()
    more = tuple(sweep.points[2].model_copy(update={"number": number}) for number in range(6, 60))
    view = view_of(**swept_arguments(points=sweep.points + more))
    assert view.reason is not None
    assert [row[0].text.split()[0] for row in view.reason.table.rows] == ["0", "1", "3", "4"]
    assert len(view.reason.chart.spots) == 59


def test_a_policy_that_states_its_parameters_says_so() -> None:
    view = view_of(**make_arguments())
    assert view.reason is None
    for rendered in (render_html(view), render_markdown(view)):
        assert "no sweep chose them" in rendered.data.decode()


def test_another_delta_than_the_scored_one_is_said() -> None:
    same, other = swept_arguments(), swept_arguments() | {"removal": make_removal(delta_sha256=digest("elsewhere"))}
    labels = [{claim.label for claim in view_of(**arguments).not_claimed} for arguments in (same, other)]
    assert "Not the very edit that the sweep scored" in labels[1] - labels[0]
