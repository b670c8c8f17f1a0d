from __future__ import annotations

import base64
import hashlib
import re
import shutil
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from reporting_records import (
    POLICY_TEXT,
    SYMBOLS,
    full_arguments,
    make_arguments,
    make_plan,
    make_verdict,
    view_of,
)
from test_reporting_text import HOSTILE
from test_reporting_view import facts_of

from govern.digests import canonical_digest, sha256_file
from govern.errors import GovernError
from govern.records import Person
from govern.reporting.document import FailedRun
from govern.reporting.render import render_html, render_markdown
from govern.reporting.text import one_line
from govern.reporting.view import ReportView
from govern.shipped import shipped

VOID = {"meta", "br", "hr", "img", "link", "input", "circle", "rect", "line", "path", "polyline"}


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes, facts and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str | None]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.facts: list[list[str]] = []
        self.section = ""
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [], "unclosed elements"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute of <{tag}> is given twice"
        self.elements.append((tag, attributes))
        if tag in ("dd", "td", "th", "li", "p"):
            self.text += " "
        if tag not in VOID:
            self.open.append((tag, attributes.get("data-fact")))
            if pointer := attributes.get("data-fact"):
                self.facts.append([self.section, pointer, ""])
            if tag == "h2":
                self.section = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = {tag for tag, _ in self.open}
        if self.open and self.open[-1][1]:
            self.facts[-1][2] += data
        if self.open and self.open[-1][0] == "h2":
            self.section += data
        if not tags & {"style", "title", "svg"}:
            self.text += data


def page_of(view: ReportView) -> Page:
    return Page(render_html(view).data.decode())


def markdown_tokens(source: str) -> list[Any]:
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(source)
    return [each for token in tokens for each in (token, *(token.children or []))]


def text_of(tokens: list[Any]) -> str:
    """What a reader of the rendered Markdown sees, with single spaces."""
    parts = []
    for token in tokens:
        if token.type in ("text", "text_special", "code_inline", "fence"):
            parts.append(token.content)
        elif token.type in ("inline", "softbreak"):
            parts.append(" ")
    return squeeze("".join(parts))


def tokens_of(view: ReportView) -> list[Any]:
    return markdown_tokens(render_markdown(view).data.decode())


def markdown_sections(view: ReportView) -> dict[str, str]:
    """The rendered Markdown's text by second-level heading; what comes before the first is under ""."""
    source = render_markdown(view).data.decode()
    heads = ["", *re.findall(r"^## (.*)$", source, re.MULTILINE)]
    bodies = re.split(r"^## .*$", source, flags=re.MULTILINE)
    return {head: text_of(markdown_tokens(body)) for head, body in zip(heads, bodies, strict=True)}


def squeeze(text: str) -> str:
    return re.sub(r"[ \n]+", " ", text)


def test_html_shows_every_fact_of_the_view_as_it_is(any_view: ReportView) -> None:
    shown = {(pointer, squeeze(text)) for _, pointer, text in page_of(any_view).facts}
    expected = {(fact.pointer, squeeze(fact.text)) for fact in facts_of(any_view)}
    assert shown == expected
    assert len(expected) > 150


def test_markdown_shows_the_same_facts_in_the_same_sections(any_view: ReportView) -> None:
    page, markdown = page_of(any_view), markdown_sections(any_view)
    sections = list(dict.fromkeys(section for section, _, _ in page.facts))
    assert [section for section in sections if section in markdown] == sections
    for section, pointer, text in page.facts:
        assert squeeze(text) in markdown[section], (section, pointer)


def test_html_and_markdown_print_the_same_numbers(any_view: ReportView) -> None:
    def numbers(text: str) -> set[str]:
        return set(re.findall(r"\d[\d.,]*", text))

    assert numbers(page_of(any_view).text) == numbers(text_of(tokens_of(any_view)))


def test_policy_text_is_whole_in_both(view: ReportView) -> None:
    assert POLICY_TEXT.strip() in page_of(view).text
    fences = [token.content for token in tokens_of(view) if token.type == "fence"]
    assert POLICY_TEXT.strip() + "\n" in fences


def test_the_verdict_is_said_in_colour_word_and_shape(any_view: ReportView) -> None:
    html = render_html(any_view).data.decode()
    hero = html[html.index('class="hero') : html.index('class="summary')]
    assert f"verdict-{any_view.verdict}" in hero
    assert any_view.outcome.text in hero
    shape = {"pass": "<circle", "fail": "M7.6 1h8.8", "inconclusive": "M12 .8L23.2"}[any_view.verdict]
    assert shape in hero


def hostile_view(text: str) -> ReportView:
    plan = make_plan(
        title=text,
        rationale=text,
        owner=Person(name=text, role=text),
        hazard_domain=text,
        hazard_category=text,
        review_roles=(text,),
        warnings=(text,),
        model=make_plan().model.model_copy(update={"source": text, "revision": text, "licence": text}),
        corpora=tuple(
            corpus.model_copy(update={"topic": text, "source": text, "licence": text}) for corpus in make_plan().corpora
        ),
        tasks=tuple(task.model_copy(update={"name": text, "source": text}) for task in make_plan().tasks),
        parameters={text: text},
    )
    gate = SYMBOLS.model_copy(update={"task": text, "reason": text, "method": text})
    failed = FailedRun(run=text, type=text, time=text, message=text)
    return view_of(
        **make_arguments(
            plan=plan,
            verdict=make_verdict((gate,)),
            policy_text=text,
            run=text,
            audit_origin=text,
            failed_runs=(failed,),
        )
    )


CONTROLS = ["\x1b[31mred\x1b]8;;https://evil.example\x07", "abc\u202edcba\u2066", "\ud800", "a\u200bb\x00", "\x9b2J"]
TEMPLATES = ["{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "{{ view.__class__.__mro__ }}", "{# gone #}"]


@pytest.mark.parametrize(
    "text", [*HOSTILE, *CONTROLS, *TEMPLATES, '"><svg onload=alert(1)>', "</style><b>", "`", "x`|"]
)
def test_hostile_text_is_shown_harmlessly(text: str, view: ReportView) -> None:
    hostile = hostile_view(text)
    page, honest = page_of(hostile), page_of(view)
    shown = one_line(text)
    assert shown in page.text
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in honest.elements}
    assert {name for _, attributes in page.elements for name in attributes} <= {
        name for _, attributes in honest.elements for name in attributes
    }
    tokens = tokens_of(hostile)
    assert {token.type for token in tokens} - {"text_special", "softbreak"} <= {token.type for token in tokens_of(view)}
    assert shown in text_of(tokens_of(hostile))
    for data in (render_html(hostile).data, render_markdown(hostile).data):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", data.decode())


def test_a_fence_in_the_policy_cannot_end_the_fence_around_it() -> None:
    text = "a: |\n  ```\n  # not a heading\n  ````\n<b>bold</b>"
    view = view_of(**make_arguments(policy_text=text))
    assert f"{text}\n" in [token.content for token in tokens_of(view) if token.type == "fence"]


def test_no_script_and_nothing_from_outside(any_view: ReportView) -> None:
    html = render_html(any_view).data.decode()
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "use"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style")]
        if "href" in attributes:
            assert (tag, (attributes["href"] or "")[0]) == ("a", "#")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?:|data:|//", style)


def test_the_content_policy_allows_the_style_sheet_and_nothing_else(view: ReportView) -> None:
    html = render_html(view).data.decode()
    style = html[html.index("<style>") + len("<style>") : html.index("</style>")]
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [
        attributes["content"]
        for tag, attributes in Page(html).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{allowed}'; img-src 'none'; base-uri 'none'; form-action 'none'"
    )


def test_pages_are_structured_for_everybody(any_view: ReportView) -> None:
    page = page_of(any_view)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for tag, attributes in page.elements:
        if tag == "html":
            assert attributes["lang"] == "en"
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if attributes.get("role") == "img":
            assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)
        if (target := attributes.get("href") or "").startswith("#"):
            assert target[1:] in ids


def test_the_same_run_gives_the_same_bytes(any_view: ReportView) -> None:
    again = ReportView.parse(any_view.canonical())
    assert render_html(again) == render_html(any_view)
    assert render_markdown(again) == render_markdown(any_view)


def test_template_digest_covers_every_file_used(view: ReportView, tmp_path: Path) -> None:
    names = ["report.css", "report.html.j2", "report_parts.html.j2"]
    expected = canonical_digest([[name, sha256_file(shipped("templates") / name)] for name in names])
    assert render_html(view).template_sha256 == expected
    shutil.copy(shipped("templates") / "report.css", tmp_path)
    assert render_html(view, templates=tmp_path).template_sha256 == expected
    (tmp_path / "report.css").write_text("body { color: red }")
    changed = render_html(view, templates=tmp_path)
    assert changed.template_sha256 != expected
    assert b"<style>body { color: red }</style>" in changed.data


def test_an_organisation_can_override_one_template(view: ReportView, tmp_path: Path) -> None:
    (tmp_path / "report.md.j2").write_text("# {{ view.title.text }}\n\n{{ view.outcome.text }} & <b>\n")
    rendered = render_markdown(view, templates=tmp_path)
    assert rendered.data.decode() == "# Remove the chemical symbols from SmolLM2\n\nPass & <b>\n"


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("one\n{% if %}\n", 2, "Expected an expression"),
        ("one\ntwo\n{{ view.no_such_field }}\n", 3, "no_such_field"),
        ("{{ undefined_name }}\n", 1, "undefined_name"),
        ("\n\n\n{{ 1 + 'a' }}\n", 4, "unsupported operand"),
        ("\n{{ view.__class__ }}\n", 2, "unsafe"),
        ("\n{% include 'elsewhere.j2' %}\n", 2, "elsewhere.j2"),
        ("\n{% include '../../etc/passwd' %}\n", 2, "passwd"),
        ("{% for x in view.gates %}\n", 1, "endfor"),
        ("{{ x | no_such_filter }}", 1, "no_such_filter"),
    ],
)
@pytest.mark.parametrize("name", ["report.html.j2", "report.md.j2"])
def test_a_broken_template_names_its_line(
    name: str, source: str, line: int, said: str, view: ReportView, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(source)
    render = render_html if name.endswith("html.j2") else render_markdown
    with pytest.raises(GovernError, match=re.escape(said)) as error:
        render(view, templates=tmp_path)
    assert error.value.where == f"{tmp_path / name}:{line}"
    assert error.value.hint


def test_a_template_outside_utf8_names_its_line(view: ReportView, tmp_path: Path) -> None:
    (tmp_path / "report.md.j2").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(GovernError, match="not UTF-8") as error:
        render_markdown(view, templates=tmp_path)
    assert error.value.where == f"{tmp_path / 'report.md.j2'}:2"


def test_a_style_sheet_cannot_leave_its_element(view: ReportView, tmp_path: Path) -> None:
    (tmp_path / "report.css").write_text("</style><script>")
    with pytest.raises(GovernError) as error:
        render_html(view, templates=tmp_path)
    assert error.value.where == str(tmp_path / "report.css")


def test_a_full_mmlu_run_stays_small_and_quick() -> None:
    """57 subjects, attacks, waivers, a sweep: 0.32 MB where the bar is 1.5."""
    started = time.perf_counter()
    view = view_of(**full_arguments())
    data = render_html(view).data
    assert len(view.subjects.rows) == 57
    assert len(data) < 500_000
    assert time.perf_counter() - started < 5


def test_a_report_needs_no_torch() -> None:
    import subprocess
    import sys

    heavy = {"torch", "transformers", "datasets", "lm_eval"}
    code = f"import sys, govern.reporting; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_variables_of_the_style_sheet_are_all_defined() -> None:
    style = (shipped("templates") / "report.css").read_text()
    used, defined = set(re.findall(r"var\((--[\w-]+)", style)), set(re.findall(r"(--[\w-]+):", style))
    assert used <= defined | {"--cut"}


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    dark, light = sorted([_luminance(one), _luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_have_the_contrast_of_wcag_2_2_aa(scheme: str) -> None:
    """SC 1.4.3: text 4.5 : 1. SC 1.4.11: graphics 3 : 1."""
    style = (shipped("templates") / "report.css").read_text()
    blocks = {
        "light": style[: style.index("@media")],
        "dark": style[style.index("dark)") : style.index("*, *::before")],
        "print": style[style.index("@media print") :],
    }
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))
    for text, ground in [
        ("ink", "paper"),
        ("ink", "raised"),
        ("quiet", "paper"),
        ("quiet", "raised"),
        ("quiet", "allowed"),
        ("accent", "paper"),
        *((verdict, ground) for verdict in ("pass", "fail", "inconclusive") for ground in ("paper", f"{verdict}-tint")),
        *(("ink", f"{verdict}-tint") for verdict in ("pass", "fail", "inconclusive")),
    ]:
        assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for graphic in ("accent", "before", "pass", "fail", "inconclusive"):
        assert _contrast(colour[graphic], colour["paper"]) >= 3, graphic
        assert _contrast(colour[graphic], colour["allowed"]) >= 3, graphic
