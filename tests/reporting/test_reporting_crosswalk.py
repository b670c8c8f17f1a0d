"""What laws and standards ask for, and where a report answers it."""

from __future__ import annotations

import re

import pytest
from lxml import etree
from reporting_records import ATTACKS, DEPLOYMENT, full_arguments, make_arguments, make_plan, make_verdict, view_of

from govern.records import Deployment, RequestIdentity
from govern.reporting.crosswalk import (
    AI_600_1,
    AI_RMF,
    ANNEX_IV,
    ANNEX_XI,
    FRAMEWORKS,
    ISO_42001,
    Framework,
    build_crosswalk,
)
from govern.reporting.render import render_html, render_markdown
from govern.reporting.sections import SECTIONS

ANCHORS = [section.id for section in SECTIONS]


def points(framework: Framework) -> list[str]:
    """Every point of a framework; a prefix such as GOVERN holds for those that follow it."""
    found = []
    for requirement in framework.requirements:
        prefix = ""
        for point in requirement.points.split(", "):
            words = point.rsplit(" ", 1)
            prefix = f"{words[0]} " if len(words) == 2 else prefix
            found.append(prefix + words[-1])
    return found


def test_every_subcategory_of_the_ai_rmf_is_there_once() -> None:
    """NIST AI 100-1, Tables 1 to 4: 72 subcategories."""
    numbers = {"GOVERN": (7, 3, 2, 3, 2, 2), "MAP": (6, 3, 5, 2, 2), "MEASURE": (3, 13, 3, 3), "MANAGE": (4, 4, 2, 3)}
    expected = [
        f"{function} {category}.{number}"
        for function, categories in numbers.items()
        for category, count in enumerate(categories, 1)
        for number in range(1, count + 1)
    ]
    assert len(expected) == 72
    assert sorted(points(AI_RMF)) == sorted(expected)


def test_every_control_of_iso_42001_is_there_once() -> None:
    """ISO/IEC 42001:2023, Annex A: 38 controls; of clauses 4 to 10, each at least in its whole."""
    groups = {"2": 3, "3": 2, "4": 5, "5": 4, "6.1": 2, "6.2": 7, "7": 5, "8": 4, "9": 3, "10": 3}
    expected = [f"A.{group}.{number}" for group, count in groups.items() for number in range(2, count + 2)]
    found = points(ISO_42001)
    assert len(expected) == 38
    assert sorted(point for point in found if point.startswith("A.")) == sorted(expected)
    assert {point.partition(".")[0] for point in found if point[0].isdigit()} == set("456789") | {"10"}
    assert len(set(found)) == len(found)


def test_every_point_of_the_annexes_and_every_risk_is_there_once() -> None:
    """Regulation (EU) 2024/1689, Annexes IV and XI; NIST AI 600-1, Sections 2.1 to 2.12."""
    four = [f"1({letter})" for letter in "abcdefgh"] + [f"2({letter})" for letter in "abcdefgh"] + list("3456789")
    assert sorted(points(ANNEX_IV)) == sorted(four)
    eleven = [f"Section 1, 1({letter})" for letter in "abcdef"] + [f"Section 1, 2({letter})" for letter in "abcde"]
    assert [requirement.points for requirement in ANNEX_XI.requirements] == [
        *eleven,
        *(f"Section 2, {number}" for number in (1, 2, 3)),
    ]
    assert sorted(points(AI_600_1)) == sorted(f"2.{number}" for number in range(1, 13))


def test_every_answer_is_a_section_of_the_page_and_says_so_in_both_forms() -> None:
    view = view_of(**full_arguments())
    page = etree.HTML(render_html(view).data)
    assert page.xpath("//section/@id") == ANCHORS
    for framework in FRAMEWORKS:
        for requirement in framework.requirements:
            assert set(requirement.sections) <= set(ANCHORS), requirement
    assert set(page.xpath("//table[contains(@class, 'crosswalk')]//a/@href")) <= {f"#{anchor}" for anchor in ANCHORS}
    shown = page.xpath("//table[contains(@class, 'crosswalk')]/tbody/tr")
    assert len(shown) == sum(len(framework.rows) for framework in view.crosswalk)
    markdown = render_markdown(view).data.decode()
    crosswalk = markdown[markdown.index("## Crosswalk") :]
    assert len(re.findall(r"^\| (?!Point|---)", crosswalk, re.MULTILINE)) == len(shown)
    for framework in view.crosswalk:
        for row in framework.rows:
            answered = row.state != "not here"
            assert bool(row.sections) == answered
            assert not (row.state == "answered" and row.lacks)


@pytest.mark.parametrize("silent", ["intended_use", "residual_risk", "monitoring", "rollback"])
def test_what_an_optional_field_answers_is_not_answered_without_it(silent: str) -> None:
    verdict = make_verdict(stress=ATTACKS)
    said = build_crosswalk(make_plan(deployment=DEPLOYMENT), verdict)
    left = build_crosswalk(make_plan(deployment=DEPLOYMENT.model_copy(update={silent: None})), verdict)
    none = build_crosswalk(make_plan(), verdict)
    changed = 0
    for framework, full, partly, silently in zip(FRAMEWORKS, said, left, none, strict=True):
        rows = zip(framework.requirements, full.rows, partly.rows, silently.rows, strict=True)
        for requirement, before, after, without in rows:
            if requirement.needs != silent:
                assert after == before
                continue
            changed += 1
            assert before.state in ("answered", "in part")
            assert (after.state, after.sections, without.state) == ("not here", (), "not here")
            assert after.lacks == f"the policy says nothing of it (deployment.{silent})"
    assert changed >= 2


def states(**arguments: object) -> dict[str, str]:
    view = view_of(**make_arguments(**arguments))
    return {row.points: row.state for framework in view.crosswalk[3:4] for row in framework.rows}


def test_a_risk_is_answered_only_by_a_policy_that_is_about_it() -> None:
    assert {states()[risk] for risk in ("2.1", "2.4", "2.9", "2.10")} == {"not here"}
    assert states(plan=make_plan(hazard_category="CBRN"))["2.1"] == "in part"
    assert states(plan=make_plan(hazard_domain="Cyber offence"))["2.9"] == "in part"
    request = RequestIdentity(kind="copyright", id="C-1", fingerprints="f" * 64, subjects=1)
    assert states(plan=make_plan(request=request))["2.10"] == "in part"


def test_adversarial_testing_is_not_answered_without_an_attack() -> None:
    def state(**changes: object) -> str:
        (row,) = [
            r for r in build_crosswalk(make_plan(), make_verdict(**changes))[1].rows if r.points == "Section 2, 2"
        ]
        return row.state

    assert (state(), state(stress=ATTACKS)) == ("not here", "in part")


def test_a_silent_policy_is_called_silent() -> None:
    view = view_of(**make_arguments(plan=make_plan(deployment=Deployment(rollback="Unplug it."))))
    page = etree.HTML(render_html(view).data)
    risk = " ".join(page.xpath("//section[@id='risk']//text()"))
    assert risk.count("The policy is silent on this.") == 3
    assert "Unplug it." in risk
    assert page.xpath("//section[@id='risk']//*[@data-fact='/removal/base_model_digest']/text()") == [
        view.rollback[0].text
    ]
    markdown = render_markdown(view).data.decode()
    assert markdown.count("The policy is silent on this.") == 3
