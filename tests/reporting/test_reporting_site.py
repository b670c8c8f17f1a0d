"""The site's pages: what they show, where they link, and that no policy can steer them."""

from __future__ import annotations

import itertools
import posixpath
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from reporting_records import FAILING, digest, make_arguments, make_plan, make_verdict
from test_reporting_exports import HOSTILE, document_of

from govern.reporting.document import RunDocument
from govern.reporting.site import Site, SiteRun, SiteSignOff, outcome, pairs, render_site


def renamed(document: RunDocument, run: str, policy: str = "quickstart") -> RunDocument:
    return document.model_copy(
        update={
            "report": document.report.model_copy(update={"run": run}),
            "plan": document.plan.model_copy(update={"policy_name": policy}),
        }
    )


def make_run(run: str, **changes: Any) -> SiteRun:
    fields: dict[str, Any] = {
        "run": run,
        "policy": "quickstart",
        "title": "Remove the chemical symbols from SmolLM2",
        "hazard": "chemical symbols",
        "category": "harmless stand-in",
        "model": "builtin:smollm2-135m-instruct",
        "verdict": "pass",
        "outcome": outcome("pass"),
        "state": "waiting",
        "outlook": "Waits for 1 of 1: Ada Example",
        "notes": (),
        "waits_for": ("Ada Example",),
        "required": 1,
        "roles": ("safety-reviewer",),
        "issued": "2026-11-24 10:18:42 UTC",
        "report": digest("report"),
        "signer": digest("key"),
        "sign_offs": (),
        **changes,
    }
    return SiteRun(**fields)


def make_site(*runs: SiteRun) -> Site:
    return Site(
        issued="2026-11-24 10:30:00 UTC",
        origin="govern/5f1c9d2e",
        seq=12,
        signer=digest("key"),
        throwaway=False,
        runs=runs,
    )


def a_site() -> tuple[Site, list[RunDocument]]:
    failed, passed = document_of(verdict=make_verdict(FAILING)), document_of()
    site = make_site(
        make_run(
            "run-1", verdict="fail", outcome=outcome("fail"), state="failed", outlook="A gate failed", waits_for=()
        ),
        make_run("run-2"),
        make_run(
            "run-3",
            verdict=None,
            outcome=outcome(None),
            state="not verified",
            outlook="Not verified",
            waits_for=(),
            issued=None,
            report=None,
            signer=None,
        ),
    )
    return site, [renamed(failed, "run-1"), renamed(passed, "run-2")]


def test_every_link_leads_to_a_page_or_to_a_file_of_the_report() -> None:
    pages = render_site(*a_site()).pages
    shown = {"report.html", "report.md", "statement.json", "report.sigstore.json", "signer.pub"}
    for name, data in pages.items():
        for link in etree.HTML(data).xpath("//a/@href"):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
            if not link.startswith("#") and posixpath.basename(target) not in shown:
                assert target in pages, (name, link)
    assert "compare/run-1--run-2.html" in pages


def test_a_filter_page_holds_the_runs_of_its_value_and_no_other() -> None:
    pages = render_site(*a_site()).pages
    held = {
        name: [re.sub(r".*(run-\d).*", r"\1", link) for link in etree.HTML(data).xpath("//th/a/@href")]
        for name, data in pages.items()
        if name == "index.html" or name.startswith("by/")
    }
    assert held["index.html"] == ["run-3", "run-2", "run-1"]
    by_value = {re.sub(r"-[0-9a-f]{6}\.html$", "", name): runs for name, runs in held.items()}
    assert by_value["by/verdict-fail"] == ["run-1"]
    assert by_value["by/verdict-none-yet"] == ["run-3"]
    assert by_value["by/waits-for-ada-example"] == ["run-2"]
    assert by_value["by/sign-off-not-verified"] == ["run-3"]
    assert by_value["by/hazard-chemical-symbols"] == ["run-3", "run-2", "run-1"]


def test_values_that_read_alike_get_pages_of_their_own() -> None:
    runs = [make_run(f"run-{index}", model=model) for index, model in enumerate(("hf:a/b", "hf:a-b", "文", "字"))]
    pages = render_site(make_site(*runs), []).pages
    assert len([name for name in pages if name.startswith("by/model-")]) == 4


def test_the_same_records_give_the_same_bytes() -> None:
    assert render_site(*a_site()) == render_site(*a_site())


def test_nothing_on_a_page_comes_from_outside_or_runs() -> None:
    hostile = make_run(
        "run-1",
        **dict.fromkeys(("policy", "title", "hazard", "category", "model", "outlook"), HOSTILE),
        notes=(HOSTILE,),
        waits_for=(HOSTILE,),
        roles=(HOSTILE,),
        sign_offs=(SiteSignOff(decision="Approved", person=HOSTILE, role=HOSTILE, time="now", comment=HOSTILE),),
    )
    plan = make_plan(policy_name=HOSTILE, parameters={"optimiser": HOSTILE})
    documents = [renamed(document_of(plan), f"run-{n}", HOSTILE) for n in (1, 2)]
    documents[1] = documents[1].model_copy(update={"plan": documents[1].plan.model_copy(update={"seed": 7})})
    for name, data in render_site(make_site(hostile, make_run("run-2")), documents).pages.items():
        assert b"\x1b" not in data
        page = etree.HTML(data)
        assert not page.xpath("//script | //link | //img | //iframe | //object"), name
        assert not page.xpath("//@src | //@style | //@onclick"), name
        assert all(not href.startswith(("http", "javascript")) for href in page.xpath("//@href")), name
        assert "default-src 'none'" in page.xpath("//meta[@http-equiv]/@content")[0]


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_pairs_are_of_one_policy_each_once_and_grow_with_the_runs(policies: list[str]) -> None:
    documents = [renamed(_DOCUMENT, f"run-{index}", name) for index, name in enumerate(policies)]
    found = [(one.report.run, other.report.run) for one, other in pairs(documents)]
    assert len(set(found)) == len(found) <= 2 * len(policies)
    for one, other in pairs(documents):
        assert one.plan.policy_name == other.plan.policy_name
        assert documents.index(one) < documents.index(other)
    for name in "abc":
        runs = [document.report.run for document in documents if document.plan.policy_name == name]
        assert set(itertools.pairwise(runs)) <= set(found)
        assert {(run, runs[-1]) for run in runs[:-1]} <= set(found)


_DOCUMENT = document_of(verdict=make_verdict(()))


@pytest.mark.parametrize("count", [0, 1])
def test_small_workspaces_have_a_site_too(count: int) -> None:
    runs = [make_run(f"run-{index}") for index in range(count)]
    documents = [renamed(document_of(), f"run-{index}") for index in range(count)]
    pages = render_site(make_site(*runs), documents).pages
    assert len([name for name in pages if name.startswith("runs/")]) == count
    assert not [name for name in pages if name.startswith("compare/")]
    assert make_arguments()["run"].encode() not in pages["index.html"]
