"""The report in a real browser: no console message, no request, no sideways scrolling, quickly there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from reporting_records import PASSING, make_arguments, make_plan, make_removal, make_verdict, view_of

from govern.records import Overlap, Person
from govern.reporting.document import FailedRun
from govern.reporting.render import render_html
from govern.reporting.view import ReportView

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run headless Chromium with a profile of its own and without a network."""
    return subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--disable-background-networking",
            "--enable-logging=stderr",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def console(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if ":CONSOLE" in line or "Refused to" in line]


LONG = "a_name_without_a_single_space_that_goes_on_and_on_for_longer_than_any_screen_of_a_phone_is_wide"


@pytest.fixture
def long_page(tmp_path: Path) -> Path:
    """A report in which every name that a policy chooses is long and cannot be broken at a space."""
    plan = make_plan(
        title=LONG,
        owner=Person(name=LONG, role=LONG),
        hazard_domain=LONG,
        review_roles=(LONG,),
        model=make_plan().model.model_copy(update={"source": LONG, "licence": LONG}),
        corpora=tuple(c.model_copy(update={"topic": LONG, "source": LONG}) for c in make_plan().corpora),
        overlap=(Overlap(topic=LONG, unigram=0.1, bigram=0.1, warn=False),),
        tasks=tuple(task.model_copy(update={"name": LONG, "source": LONG}) for task in make_plan().tasks),
        parameters={LONG: LONG},
        warnings=(LONG,),
    )
    removal = make_removal(
        tensors=tuple(t.model_copy(update={"name": LONG}) for t in make_removal().tensors),
        curve=tuple(point.model_copy(update={"topic": LONG}) for point in make_removal().curve),
        figures={LONG: 1.0},
    )
    verdict = make_verdict(tuple(gate.model_copy(update={"task": LONG, "method": LONG}) for gate in PASSING))
    failed = (FailedRun(run=LONG, type="apply.failed", time="2026-11-24T09:53:01Z", message=LONG),)
    arguments = make_arguments(
        plan=plan, removal=removal, verdict=verdict, policy_text=LONG, audit_origin=LONG, failed_runs=failed
    )
    path = tmp_path / "report.html"
    path.write_bytes(render_html(view_of(**arguments)).data)
    return path


@pytest.fixture
def page(any_view: ReportView, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_bytes(render_html(any_view).data)
    return path


def test_a_browser_has_nothing_to_complain_about(page: Path, tmp_path: Path) -> None:
    finished = chromium(tmp_path, "--dump-dom", page.as_uri())
    assert console(finished.stderr) == []
    assert 'id="sign-off"' in finished.stdout


def test_the_policy_stops_what_a_template_might_add(view: ReportView, tmp_path: Path) -> None:
    """The check above can fail: a script and an inline style in the same page are refused, and said to be."""
    hostile = render_html(view).data.replace(
        b"</main>", b'<p id="x" style="color:red">x</p><script>document.title = "owned"</script></main>'
    )
    path = tmp_path / "hostile.html"
    path.write_bytes(hostile)
    finished = chromium(tmp_path, "--dump-dom", path.as_uri())
    assert len(console(finished.stderr)) >= 2
    assert "<title>owned" not in finished.stdout


# The probe page frames the report at a width of its own and reads what its layout needs; it is not part of the report.
PROBE = """<!doctype html><body><iframe id="report" src="report.html" style="width:{width}px;height:900px;border:0">
</iframe><script>
addEventListener("load", () => {{
  const page = document.getElementById("report").contentDocument;
  const wide = [...page.querySelectorAll("body *")].filter((element) =>
    !element.closest(".scroll, .visually-hidden, thead, svg") && element.getBoundingClientRect().right > {width} + 1);
  document.title = "needs " + page.documentElement.scrollWidth + " " +
    wide.map((element) => element.tagName + "." + element.className).slice(0, 5).join(" ");
}});
</script>"""


@pytest.mark.parametrize("width", [320, 360, 768, 1024, 1280])
def test_nothing_scrolls_sideways(long_page: Path, tmp_path: Path, width: int) -> None:
    assert long_page.is_file()
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width))
    finished = chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", probe.as_uri())
    found = re.search(r"<title>needs (\d+) ?(.*?)</title>", finished.stdout)
    assert found, finished.stdout[:500]
    assert int(found[1]) <= width, found[2]
    assert found[2] == ""


def test_it_prints(page: Path, tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 10 <= pages <= 26
