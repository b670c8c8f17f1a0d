"""Sections of an organisation's own: where they are shown, how they are named, and what goes wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from govern.errors import GovernError
from govern.reporting.render import own_sections, render_html, render_markdown
from govern.reporting.view import ReportView

HTML = """\
{% from "report_parts.html.j2" import fact %}
<p>Answers of run {{ fact(view.run) }} are kept for ten years, says {{ "<b>" }}.</p>
"""
MARKDOWN = "Answers of run {{ view.run.text }} are kept for ten years, says {{ '<b>' }}.\n"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "sections"
    folder.mkdir()
    (folder / "20-data_retention.html.j2").write_text(HTML)
    (folder / "20-data_retention.md.j2").write_text(MARKDOWN)
    (folder / "10-Who-to-ask.html.j2").write_text("<p>The safety desk.</p>")
    return tmp_path


def test_they_come_before_how_to_verify_in_their_order(view: ReportView, templates: Path) -> None:
    page = etree.HTML(render_html(view, templates=templates).data)
    found = page.xpath("//section/@id")
    assert found[-5:] == ["own-who-to-ask", "own-data-retention", "verify", "sign-off", "crosswalk"]
    assert page.xpath("//nav//a/@href")[-5:] == [f"#{name}" for name in found[-5:]]
    assert page.xpath("//section[@id='own-data-retention']/h2/text()") == ["Data retention"]
    text = render_markdown(view, templates=templates).data.decode()
    assert text.index("## Data retention") < text.index("## How to verify")


def test_they_see_the_view_and_its_values_are_escaped(view: ReportView, templates: Path) -> None:
    page = render_html(view, templates=templates).data.decode()
    assert f'Answers of run <code data-fact="/report/run">{view.run.text}</code> are kept' in page
    assert "says &lt;b&gt;." in page
    assert "says &lt;b&gt;." in render_markdown(view, templates=templates).data.decode()


def test_they_are_part_of_what_the_signature_says_of_templates(view: ReportView, templates: Path) -> None:
    before = render_html(view, templates=templates).template_sha256
    assert before != render_html(view).template_sha256
    (templates / "sections" / "10-Who-to-ask.html.j2").write_text("<p>Another desk.</p>")
    assert render_html(view, templates=templates).template_sha256 != before


@pytest.mark.parametrize("text", ["<p>fine</p>\n{{ view.nothing.text }}\n", "<p>fine</p>\n{% if %}\n"])
def test_a_broken_one_is_named_with_its_line(view: ReportView, templates: Path, text: str) -> None:
    path = templates / "sections" / "20-data_retention.html.j2"
    path.write_text(text)
    with pytest.raises(GovernError) as raised:
        render_html(view, templates=templates)
    assert raised.value.where == f"{path}:2"


def test_one_that_is_named_by_digits_alone_keeps_its_name(templates: Path) -> None:
    (templates / "sections" / "30.html.j2").write_text("")
    assert own_sections(templates, ".html.j2")[-1].title == "30.html.j2"
    assert own_sections(None, ".html.j2") == ()


def test_a_section_may_not_read_outside_its_folder(view: ReportView, templates: Path, tmp_path: Path) -> None:
    (templates / "sections" / "20-data_retention.html.j2").write_text('{% include "../../../etc/passwd" %}')
    with pytest.raises(GovernError, match="no template"):
        render_html(view, templates=templates)
    (templates / "sections" / "20-data_retention.html.j2").write_text("{{ view.__class__.__mro__ }}")
    with pytest.raises(GovernError, match="unsafe"):
        render_html(view, templates=templates)
