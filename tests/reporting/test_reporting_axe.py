"""axe-core on the report and on every kind of page of the site: phone, desk and paper, light and dark."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from devtools import CHROMIUM, Tab, browser
from reporting_records import FAILING, UNDECIDED, full_arguments, make_arguments, make_verdict, swept_arguments, view_of
from test_reporting_site import a_site

from govern.reporting.render import render_html
from govern.reporting.site import render_site

AXE = Path(os.environ.get("GOVERN_NPM", "")) / "node_modules" / "axe-core" / "axe.min.js"
SECTION = "<p>Answers are kept for ten years, <code>{{ view.run.text }}</code>.</p>"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
needs_axe = [
    pytest.mark.npm,
    pytest.mark.skipif(not AXE.is_file(), reason="GOVERN_NPM names no folder with npm's axe-core"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of all verdicts, one with a section of an organisation's own, and one page of each kind of the site."""
    folder = tmp_path_factory.mktemp("pages")
    templates = folder / "templates"
    (templates / "sections").mkdir(parents=True)
    (templates / "sections" / "20-retention.html.j2").write_text(SECTION)
    reports = {
        "pass": render_html(view_of(**make_arguments()), templates=templates),
        "fail": render_html(view_of(**make_arguments(verdict=make_verdict(FAILING)))),
        "sweep": render_html(view_of(**swept_arguments())),
        "full": render_html(view_of(**full_arguments())),
        "inconclusive": render_html(view_of(**make_arguments(verdict=make_verdict(UNDECIDED)))),
    }
    for name, rendered in reports.items():
        (folder / f"{name}.html").write_bytes(rendered.data)
    for name, data in render_site(*a_site()).pages.items():
        (folder / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / name).write_bytes(data)
    site = folder / "site"
    return {
        **{f"report {name}": folder / f"{name}.html" for name in reports},
        "index": site / "index.html",
        "filter": next((site / "by").glob("verdict-pass-*.html")),
        "run": site / "runs" / "run-2" / "index.html",
        "run without a report": site / "runs" / "run-3" / "index.html",
        "comparison": site / "compare" / "run-1--run-2.html",
    }


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def violations(tab: Tab) -> list[str]:
    """What axe-core finds: WCAG 2.2 A and AA, and its best practices."""
    tab.evaluate(AXE.read_text() + "; 0")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = tab.evaluate(f"axe.run({{runOnly: {json.dumps(tags)}}}).then(found => JSON.stringify(found.violations))")
    return [
        f"{entry['id']}: {entry['help']}: {node['html'][:200]} {node['failureSummary']}"
        for entry in json.loads(found)
        for node in entry["nodes"]
    ]


class TestAxe:
    pytestmark = needs_axe

    @pytest.mark.parametrize(
        ("width", "media", "dark"),
        [
            (360, "screen", False),
            pytest.param(360, "screen", True, marks=pytest.mark.slow),
            pytest.param(1024, "screen", False, marks=pytest.mark.slow),
            pytest.param(1280, "screen", True, marks=pytest.mark.slow),
            (794, "print", False),
        ],
    )
    def test_no_violation(self, tab: Tab, pages: dict[str, Path], width: int, media: str, dark: bool) -> None:
        for name, page in pages.items():
            tab.open(page, width=width, media=media, dark=dark)
            assert violations(tab) == [], name

    def test_it_would_find_one(self, tab: Tab, pages: dict[str, Path], tmp_path: Path) -> None:
        broken = tmp_path / "broken.html"
        text = pages["report pass"].read_text().replace('<html lang="en">', "<html>")
        broken.write_text(text.replace("</main>", '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></main>'))
        tab.open(broken, width=1024)
        found = {line.partition(":")[0] for line in violations(tab)}
        assert {"html-has-lang", "image-alt"} <= found


def test_pages_are_there_in_a_second_and_ask_for_nothing(tab: Tab, pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        tab.requests.clear()
        tab.console.clear()
        # The best of three: what is measured is the page, not what else the machine does.
        times = []
        for _ in range(3):
            tab.open(page, width=1024)
            times.append(tab.first_paint())
        assert min(times) < 1000, (name, times)
        assert {url.partition(":")[0] for url in tab.requests} <= {"file", "about"}, name
        assert all(url.endswith(page.name) or url == "about:blank" for url in tab.requests), name
        assert tab.console == [], name


@pytest.mark.parametrize("width", [320, 360, 768, 1024, 1280])
def test_no_page_of_the_site_scrolls_sideways(tab: Tab, pages: dict[str, Path], width: int) -> None:
    for name, page in pages.items():
        tab.open(page, width=width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
