"""What a policy may leave to a sweep, and what it cannot."""

from __future__ import annotations

import pytest
from policy_example import EXAMPLE, changed, findings, parse

from govern.unlearning.settings import Relative
from govern.unlearning.sweeping import changed as changed_settings
from govern.unlearning.sweeping import grid_of

COEFFICIENT = "{sweep: {start: 1, stop: 170, step: 10}}"
AXES = "tasks:\n  - name: own_letters"


def with_axes(axes: str, text: str = EXAMPLE) -> str:
    return text.replace(AXES, f"sweep: {axes}\n{AXES}")


def test_the_papers_grid_has_its_17_values() -> None:
    policy = parse(EXAMPLE).policy
    swept, points = grid_of(policy.removal, policy.axes)
    assert swept == {"coefficient": tuple(range(1, 170, 10))}
    assert [point.coefficient for point in points] == list(range(1, 162, 10))
    assert policy.sweeps


def test_a_policy_with_one_coefficient_and_no_axes_sweeps_nothing() -> None:
    policy = parse(changed(COEFFICIENT, "7")).policy
    assert not policy.sweeps
    assert grid_of(policy.removal, policy.axes)[1] == (policy.removal,)


def test_points_come_with_the_cheapest_change_last() -> None:
    text = with_axes("{importance: [ratio, product], retain_weight: [5, 6], solver: [gradient, closed_form]}")
    policy = parse(text.replace(COEFFICIENT, "{sweep: {relative: [1, 2]}}")).policy
    _, points = grid_of(policy.removal, policy.axes)
    assert len(points) == len(set(points)) == 16
    assert [point.solver for point in points] == ["gradient"] * 8 + ["closed_form"] * 8
    assert [point.retain_weight for point in points[:8]] == [5] * 4 + [6] * 4
    assert [(point.importance, point.coefficient) for point in points[:4]] == [
        (name, Relative(relative=c)) for name in ("ratio", "product") for c in (1, 2)
    ]


def test_another_solver_takes_what_it_knows() -> None:
    settings = parse(changed(COEFFICIENT, "7")).policy.removal
    closed = changed_settings(settings, solver="closed_form")
    assert (closed.solver, closed.coefficient, closed.layer, closed.retain_weight) == ("closed_form", 7, 7, 1200)
    assert not hasattr(closed, "learning_rate")
    plain = changed_settings(settings, method="rmu")
    assert (plain.method, plain.coefficient, plain.learning_rate) == ("rmu", 7, 5e-5)


CLOSED = EXAMPLE.replace("  method: srmu\n", "  method: srmu\n  solver: closed_form\n").replace(
    "  learning_rate: 5e-5\n", ""
)
RMU = EXAMPLE.replace("method: srmu", "method: rmu")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (with_axes("{importance: [ratios]}"), "28:22", "sweep.importance[0]: expected ratio or"),
        (with_axes("{solver: [gradient]}", CLOSED), "28:17", "sweep.solver: the other solver needs `learning_rate`"),
        (with_axes("{direction: [ones]}", RMU), "28:20", "rmu has no `direction` to sweep"),
        (RMU.replace(COEFFICIENT, "{sweep: {relative: [1]}}"), "25:16", "absolute coefficients alone"),
        (changed(COEFFICIENT, "{sweep: {start: 5, stop: 1, step: 1}}"), "25:41", "the grid ends before it starts"),
        (changed(COEFFICIENT, "{sweep: {start: 1, stop: 1e9, step: 1e-9}}"), "25:16", "points"),
        (changed("use: split}", "use: split, selects: wmdp_bio}"), "32:91", "is for tasks of use: selection"),
        (changed("use: selection}", "use: selection, selects: own}"), "33:78", "no gate is about a task 'own'"),
    ],
)
def test_what_a_sweep_cannot_be_is_found_at_its_place(text: str, place: str, message: str) -> None:
    (found,) = findings(text)
    assert found[0] == place
    assert message in found[1]
