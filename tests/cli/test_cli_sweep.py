"""What `govern sweep` prints."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from govern.cli.console import shown_progress
from govern.cli.sweeps.sweep import ablation_tables, before, methods_table, points_table
from govern.records import Interval, Score, Sweep, SweepPoint


def score(value: float) -> Score:
    return Score(value=value, interval=Interval(low=0.0, high=1.0), n=100)


def point(number: int, **changes: object) -> SweepPoint:
    fields: dict[str, object] = {
        "number": number,
        "group": "grid",
        "label": "",
        "settings": {
            "solver": "closed_form", "retain_weight": 1000.0, "direction": "rademacher", "importance": "difference",
            "coefficient": {"relative": 2.0 * number + 2},
        },
        "error": None,
        "gates": (),
        "forget": score(0.9 - 0.2 * number),
        "utility": score(0.9),
        "standing": "estimate",
        "change_norm": 3.14159,
        "target_norm": 12345.678,
        "delta_sha256": "0" * 64,
        "edit_seconds": 1.25,
        "score_seconds": 100.0,
    }  # fmt: skip
    return SweepPoint.model_validate({**fields, **changes})


def sweep(points: tuple[SweepPoint, ...], **changes: object) -> Sweep:
    fields: dict[str, object] = {
        "sweep": "20261124-094000-quickstart-55aa",
        "kind": "grid",
        "policy_digest": "1" * 64,
        "plan_digest": "2" * 64,
        "model_digest": "3" * 64,
        "confidence": 0.95,
        "swept": dict.fromkeys(("solver", "retain_weight", "direction", "importance", "coefficient"), ()),
        "forget_before": score(0.95),
        "utility_before": score(0.93),
        "chance": 0.25,
        "points": points,
        "front": (1,),
        "chosen": 1,
        "nearest": None,
        "rule": "",
        "reason": "",
        "seconds": 12.0,
    }
    return Sweep.model_validate({**fields, **changes})


def printed(*things: object) -> str:
    stream = io.StringIO()
    console = Console(width=80, file=stream, highlight=False)
    for thing in things:
        console.print(thing)
    return stream.getvalue()


def test_every_axis_fits_into_80_columns_and_the_choice_is_marked() -> None:
    broken = {"error": "the loss exploded at step 3: forget 1e9", "forget": None, "utility": None, "change_norm": None}
    text = printed(points_table(sweep((point(0), point(1), point(2, **broken)))))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    (chosen,) = (line for line in lines if line.startswith("●") and "chosen" not in line)
    for part in ("clos", "1000", "4×", "70.0%", "90.0%", "3.14", "101.2"):
        assert part in chosen
    assert "the loss" in text


def test_the_unedited_model_is_one_line() -> None:
    assert before(sweep(())) == "before  to forget 95.0% of 100 questions (guessing 25%), to keep 93.0% of 100"


def test_a_comparison_of_methods_fits_into_80_columns_with_its_memory() -> None:
    broken = {"error": "the loss exploded at step 3: forget 1e9", "forget": None, "utility": None}
    rows = (
        point(0, group="task_arithmetic", label="learning_rate 0.0001", edit_seconds=45.0, edit_peak_bytes=3 * 2**29),
        point(1, group="adaptive_rmu", label="scale 5", **broken),
    )
    lines = printed(methods_table(sweep(rows, kind="methods", chosen=None))).splitlines()
    assert max(map(len, lines)) <= 80
    assert "GiB" in lines[0]
    (best,) = (line for line in lines if line.startswith("●"))
    for part in ("task_arithmetic", "lr 0.0001", "90% 0–100", "45", "1.50"):
        assert part in best


def test_what_was_not_measured_is_not_written_down() -> None:
    assert "edit_peak_bytes" not in point(0).to_json()
    assert point(0, edit_peak_bytes=1).to_json()["edit_peak_bytes"] == 1


@pytest.mark.parametrize("group", ["equal c", "equal ‖T‖", "curve"])
def test_an_ablation_has_a_table_for_each_group(group: str) -> None:
    record = sweep((point(0, group=group, label="random direction in [0, 1)"),), kind="ablation", chosen=None)
    (table,) = ablation_tables(record)
    text = printed(table)
    assert group in text
    assert "random direction in [0, 1)" in text
    assert "1.23e+04" in text


def test_a_long_stage_says_where_it_is_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("govern.cli.console.time.monotonic", lambda: now[0])
    with shown_progress() as progress:
        for done in range(1, 6):
            now[0] += 20
            progress("points", done, 5, forget=0.25)
    assert capsys.readouterr().err.splitlines() == [
        "points: 2/5  forget 0.25", "points: 4/5  forget 0.25", "points: 5/5  forget 0.25",
    ]  # fmt: skip
