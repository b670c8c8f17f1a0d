"""A comparison of methods as a page: the picture, every point, and nothing that a page could do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from devtools import CHROMIUM, browser
from lxml import etree
from reporting_records import make_plan, make_sweep

from govern.records import Interval, Score, Sweep, SweepPoint
from govern.reporting.charts import methods_chart
from govern.reporting.methods import build_methods, render_methods

METHODS = (
    "ga", "grad_diff", "npo", "simnpo", "undial", "rklu", "llmu", "scrub", "quark", "depn", "ssd", "task_arithmetic",
    "srmu", "rmu", "adaptive_rmu",
)  # fmt: skip
REPORT: dict[str, Any] = {
    "issued": "2026-11-28T12:00:00Z",
    "signer": {"fingerprint": "a" * 64, "kind": "kept"},
    "audit": {"origin": "govern/audit", "seq": 40, "leaf": "b" * 64},
    "budget": 45.0,
    "points": 2,
}


def score(value: float) -> Score:
    low, high = max(0.0, value - 0.07), min(1.0, value + 0.07)
    return Score(value=value, interval=Interval(low=low, high=high), n=120)


def point(number: int, method: str, forget: float, utility: float, **changes: Any) -> SweepPoint:
    first = make_sweep().points[0]
    fields = {"number": number, "group": method, "label": "learning_rate 2e-05", "edit_peak_bytes": 3 * 2**29}
    return first.model_copy(
        update={**fields, "forget": score(forget), "utility": score(utility), "error": None, **changes}
    )


def compared() -> tuple[Sweep, dict[str, SweepPoint]]:
    """Fifteen methods, several of them at one place, and one that has nothing to show."""
    points = [
        point(place, method, 0.25 + 0.05 * (place % 4), 0.9 - 0.03 * (place // 4))
        for place, method in enumerate(METHODS[:-1])
    ]
    reason = "adaptive_rmu steers a block, and this policy names none"
    nothing = {"label": "", "error": reason, "edit_peak_bytes": None}
    unmade = point(14, METHODS[-1], 0, 0).model_copy(update={**nothing, "forget": None, "utility": None})
    return make_sweep(kind="methods", chosen=None, points=(*points, unmade)), {each.group: each for each in points}


def test_every_method_has_a_mark_and_no_two_names_overlap() -> None:
    sweep, best = compared()
    chart = methods_chart(sweep, tuple(best.values()))
    assert len(chart.marks) == 14
    labels = [float(mark.label) for mark in chart.marks]
    assert all(lower - upper > 5.9 for upper, lower in pairwise(labels))
    assert 0 <= labels[0] < labels[-1] <= 100
    for mark in chart.marks:
        assert float(mark.top) < float(mark.y) < float(mark.bottom)
        assert float(mark.x.low) < float(mark.x.at) < float(mark.x.high)


def test_a_comparison_in_which_nothing_was_scored_still_has_a_picture() -> None:
    assert methods_chart(compared()[0], ()).marks == ()


def test_the_page_has_every_point_and_marks_the_best() -> None:
    sweep, best = compared()
    del best["quark"]
    page = etree.HTML(render_methods(build_methods(sweep, make_plan(), REPORT, best)).data)
    rows = page.xpath("//section[@id='points']//tbody/tr")
    assert len(rows) == 15
    assert len(page.xpath("//tr[@class='best']")) == 13
    text = " ".join(page.xpath("//section[@id='points']//text()"))
    assert "adaptive_rmu steers a block" in text
    assert "1.50\N{NO-BREAK SPACE}GiB" in text
    caption = " ".join(page.xpath("//figcaption//text()"))
    assert "quark, adaptive_rmu" in caption
    assert "certify nothing" in caption
    assert not page.xpath("//script | //*[@src] | //link | //a[starts-with(@href, 'http')]")
    for pointer in ("/sweep/model_digest", "/sweep/policy_digest", "/plan/seed", "/report/budget", "/report/points"):
        assert page.xpath(f"//*[@data-fact='{pointer}']"), pointer


def test_what_a_policy_says_cannot_be_markup() -> None:
    sweep, best = compared()
    plan = make_plan(policy_name="<script>alert(1)</script>")
    page = render_methods(build_methods(sweep, plan, REPORT, best)).data.decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_throw_away_key_is_said() -> None:
    sweep, best = compared()
    report = {**REPORT, "signer": {"fingerprint": "a" * 64, "kind": "throwaway"}}
    assert b"throw-away key" in render_methods(build_methods(sweep, make_plan(), report, best)).data
    assert b"throw-away key" not in render_methods(build_methods(sweep, make_plan(), REPORT, best)).data


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_as_wide_as_the_screen_and_no_name_is_cut(tmp_path: Path, width: int) -> None:
    sweep, best = compared()
    page = tmp_path / "report.html"
    page.write_bytes(render_methods(build_methods(sweep, make_plan(), REPORT, best)).data)
    with browser(tmp_path) as tab:
        tab.open(page, width=width, media="screen")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        edges = "[...document.querySelectorAll('.name')].map(each => each.getBoundingClientRect().right)"
        assert max(tab.evaluate(edges)) <= width
