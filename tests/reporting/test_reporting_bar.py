"""The bar: every number on the page comes from a field, and hostile text is only text, in everything new as well."""

from __future__ import annotations

import re
from functools import cache

import pytest
from lxml import etree
from reporting_records import full_arguments, make_attack, make_plan, make_waiver, view_of
from test_reporting_render import CONTROLS, TEMPLATES, markdown_tokens, text_of
from test_reporting_text import HOSTILE
from test_reporting_view import facts_of

from govern.records import Deployment, NeighbourResult, Reviewer
from govern.reporting.render import render_html, render_markdown
from govern.reporting.text import one_line
from govern.reporting.view import ReportView

# Numbers of the page's own sentences: names of standards and forms, and the crosswalk's points.
WORDS = r"SHA-256|sha256|RFC 8785|RFC 3339|SHA256|base64|DSSEv1|float32"


def page_of(view: ReportView) -> etree._Element:
    return etree.HTML(render_html(view).data)


def test_every_number_on_the_page_is_a_fact_or_part_of_a_name(any_view: ReportView) -> None:
    """What no `data-fact` holds has no number of its own: its sentences, its headings and its alternatives."""
    page = page_of(any_view)
    facts = {text for fact in facts_of(any_view) for text in (fact.text, fact.label)}
    facts |= {topic.topic for chart in any_view.curve_charts for topic in chart.traces}
    for element in page.xpath("//*[@data-fact] | //style | //section[@id='crosswalk'] | //pre"):
        tail = element.tail
        element.clear()
        element.tail = tail
    numbered = sorted((fact for fact in facts if re.search(r"\d", fact)), key=len, reverse=True)
    left = []
    # An axis is a scale, not a finding; its chart's text alternative is looked at like all other text.
    for text in page.xpath("//body//text()[not(ancestor::*[local-name() = 'text'])]"):
        rest = re.sub(WORDS, "", text)
        for known in numbered if re.search(r"\d", rest) else ():
            rest = rest.replace(known, "")
        if re.search(r"\d", rest):
            left.append(rest.strip())
    sentences = {any_view.sentence, f"{len(any_view.reason.chart.spots)} points. Values are in the table that follows."
                 if any_view.reason else ""}  # fmt: skip
    assert [text for text in left if text not in sentences] == []


def test_that_test_can_fail(view: ReportView) -> None:
    wrong = view.model_copy(update={"sentence": "All 3 gates are met, and 97 of 100 reviewers like it."})
    with pytest.raises(AssertionError):
        test_every_number_on_the_page_is_a_fact_or_part_of_a_name(
            wrong.model_copy(update={"not_claimed": (), "curve_charts": ()}).model_copy(
                update={"sign_offs": ("42 reviewers",)}
            )
        )


def hostile_full(text: str) -> ReportView:
    """A hostile word everywhere that a person can write one, in each of the optional sections."""
    arguments = full_arguments()
    verdict = arguments["verdict"]
    attack = make_attack(task=text, name=text, reason=text, method=text, parameters={"text": text}, verdict="fail")
    neighbour = NeighbourResult(**{**dict(verdict.neighbours[0]), "hazard": text, "subjects": (text,), "method": text})
    endpoint = verdict.endpoint[0].model_copy(update={"task": text, "url": text, "model": text})
    subject = verdict.subjects[0].model_copy(update={"subject": text, "task": text})
    arguments["plan"] = make_plan(
        hazard_domain=text,
        hazard_category=text,
        deployment=Deployment(**dict.fromkeys(Deployment.model_fields, text)),
        sweep=arguments["plan"].sweep,
        valid_days=365,
    )
    arguments["verdict"] = verdict.model_copy(
        update={
            "stress": (attack, attack.model_copy(update={"verdict": None})),
            "neighbours": (neighbour,),
            "endpoint": (endpoint,),
            "subjects": (subject,),
            "sequential": verdict.sequential.model_copy(update={"unjudged": (text,)}),
        }
    )
    waiver = make_waiver().model_copy(
        update={"reason": text, "approver": Reviewer.model_construct(person=text, role=text)}
    )
    arguments["waivers"] = (waiver,)
    return view_of(**arguments)


ALL = [*HOSTILE, *CONTROLS, *TEMPLATES, '"><svg onload=alert(1)>', "</style><b>", "`", "x`|"]
QUICK = ("<script>", "\x1b[31m", "{{ 7 * 7 }}", "x`|")


@cache
def honest_view() -> ReportView:
    return view_of(**full_arguments())


@pytest.mark.parametrize(
    "text", [pytest.param(text, marks=[] if text.startswith(QUICK) else [pytest.mark.slow]) for text in ALL]
)
def test_hostile_text_is_harmless_in_the_optional_sections(text: str) -> None:
    honest, hostile = honest_view(), hostile_full(text)
    pages = page_of(honest), page_of(hostile)
    tags, names = (
        [{e.tag for e in page.iter()} for page in pages],
        [{name for e in page.iter() for name in dict(e.attrib)} for page in pages],
    )
    assert tags[1] <= tags[0]
    assert names[1] <= names[0]
    shown = one_line(text)
    visible = one_line(" ".join(pages[1].xpath("//body//text()")))
    assert visible.count(shown) >= 10
    risk = one_line(" ".join(pages[1].xpath("//section[@id='risk']//text()")))
    assert risk.count(shown) >= 4
    source = render_markdown(hostile).data.decode()
    kinds = [{token.type for token in markdown_tokens(render_markdown(v).data.decode())} for v in (honest, hostile)]
    assert kinds[1] - {"text_special", "softbreak"} <= kinds[0]
    assert text_of(markdown_tokens(source)).count(shown) >= 10
    for data in (render_html(hostile).data, source.encode()):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", data.decode())


def test_all_that_a_gate_used_is_on_the_page_itself() -> None:
    """Pointers in the HTML, not only in the view."""
    view = view_of(**full_arguments())
    shown = {element.get("data-fact") for element in page_of(view).iter() if element.get("data-fact")}
    verdict = full_arguments()["verdict"]
    for index, gate in enumerate(verdict.gates):
        assert {f"/verdict/gates/{index}/{name}" for name in type(gate).model_fields} <= shown
    for index, found in enumerate(verdict.stress):
        assert {
            f"/verdict/stress/{index}/{name}"
            for name in type(found).model_fields
            if name not in ("parameters", "found", "origin")
        } <= shown
        if found.origin is not None:
            assert {f"/verdict/stress/{index}/origin/{name}" for name in type(found.origin).model_fields} <= shown
    for index, subject in enumerate(verdict.subjects):
        assert {f"/verdict/subjects/{index}/{name}" for name in type(subject).model_fields} <= shown
