"""The site: an index of all runs, a page for each filter, run and comparison. Static files, no script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import computed_field

from govern.digests import sha256_bytes
from govern.records import SignOff, VerdictValue
from govern.records.base import Record
from govern.reporting.comparison import Comparison, compare
from govern.reporting.document import RunDocument
from govern.reporting.facts import Line, Text
from govern.reporting.forms import VERDICTS, utc
from govern.reporting.gates import GateView, gate_views
from govern.reporting.render import Page, render

_STYLES = ("report.css", "site.css")
INDEX = "index.html"


class SiteSignOff(Record):
    """A sign-off that counts."""

    decision: Line
    person: Line
    role: Line
    time: Line
    comment: Text


class SiteRun(Record):
    """One run in the index. `state` is one word, `outlook` says whom it waits for, `notes` what else bears on it."""

    run: Line
    policy: Line
    title: Line
    hazard: Line
    category: Line
    model: Line
    verdict: VerdictValue | None
    outcome: Line
    state: Line
    outlook: Line
    notes: tuple[Line, ...]
    waits_for: tuple[Line, ...]
    required: int
    roles: tuple[Line, ...]
    issued: Line | None
    report: Line | None
    signer: Line | None
    sign_offs: tuple[SiteSignOff, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def page(self) -> str:
        """The run's page."""
        return f"runs/{self.run}/{INDEX}"


class Site(Record):
    """What all pages of a site share."""

    issued: Line
    origin: Line
    seq: int
    signer: Line
    throwaway: bool
    runs: tuple[SiteRun, ...]


class FilterLink(Record):
    """One value of a filter: its page, and how many runs are on it."""

    value: Line
    page: Line
    count: int


class FilterGroup(Record):
    """A filter and its values."""

    name: Line
    links: tuple[FilterLink, ...]


class ComparisonLink(Record):
    """A comparison with another run."""

    page: Line
    other: Line
    verdict: VerdictValue


class GatePair(Record):
    """One gate as each run's report shows it."""

    task: Line
    rules: tuple[Line, ...]
    first: GateView | None
    second: GateView | None


@dataclass(frozen=True)
class RenderedSite:
    """The pages by name, and for each template the SHA-256 over its files."""

    pages: dict[str, bytes]
    templates: dict[str, str]


def render_site(site: Site, documents: Sequence[RunDocument], *, templates: Path | None = None) -> RenderedSite:
    """Every page of the site. `documents` are those of the runs that have a report, oldest first.

    Raises GovernError with file:line for a broken template.
    """
    pages: dict[str, Page] = {}

    def add(name: str, template: str, **values: object) -> None:
        pages[name] = Page(template, {"site": site, "up": "../" * name.count("/"), **values}, _STYLES)

    groups = tuple(_filters(site.runs))
    newest_first = tuple(reversed(site.runs))
    add(INDEX, "site.html.j2", runs=newest_first, groups=groups, chosen=None, heading="Removals")
    for group in groups:
        for link in group.links:
            chosen = tuple(run for run in newest_first if link.value in _values(group.name, run))
            add(
                link.page,
                "site.html.j2",
                runs=chosen,
                groups=groups,
                chosen=link,
                heading=f"{group.name}: {link.value}",
            )

    links: dict[str, list[ComparisonLink]] = {}
    by_run = {document.report.run: document for document in documents}
    for one, other in pairs(documents):
        name = f"compare/{one.report.run}--{other.report.run}.html"
        comparison = compare(one, other)
        for side, partner in ((one, other), (other, one)):
            beside = ComparisonLink(page=name, other=partner.report.run, verdict=partner.verdict.verdict)
            links.setdefault(side.report.run, []).append(beside)
        add(name, "site_compare.html.j2", comparison=comparison, gates=tuple(_gates(comparison, one, other)))
    for run in site.runs:
        document = by_run.get(run.run)
        gates = gate_views(document) if document else ()
        add(run.page, "site_run.html.j2", run=run, gates=gates, comparisons=tuple(links.get(run.run, ())))
    rendered = render([*pages.values()], templates=templates)
    return RenderedSite(
        {name: drawn.data for name, drawn in zip(pages, rendered, strict=True)},
        {page.template: drawn.template_sha256 for page, drawn in zip(pages.values(), rendered, strict=True)},
    )


def pairs(documents: Sequence[RunDocument]) -> Iterator[tuple[RunDocument, RunDocument]]:
    """Which runs are compared: of each policy, by name, each run with the one before it and with the newest.

    All pairs of up to three runs, and a number of pages that grows with the runs, not with their square.
    """
    policies: dict[str, list[RunDocument]] = {}
    for document in documents:
        policies.setdefault(document.plan.policy_name, []).append(document)
    for found in policies.values():
        newest = found[-1]
        for index, document in enumerate(found[:-1]):
            if found[index + 1] is not newest:
                yield document, found[index + 1]
            yield document, newest


_FILTERS = ("Verdict", "Sign-off", "Waits for", "Hazard", "Model", "Policy")


def _values(name: str, run: SiteRun) -> tuple[str, ...]:
    return {
        "Verdict": (run.outcome,),
        "Sign-off": (run.state.capitalize(),),
        "Waits for": run.waits_for,
        "Hazard": (run.hazard,),
        "Model": (run.model,),
        "Policy": (run.policy,),
    }[name]


def _filters(runs: Sequence[SiteRun]) -> Iterator[FilterGroup]:
    for name in _FILTERS:
        counts: dict[str, int] = {}
        for run in runs:
            for value in _values(name, run):
                counts[value] = counts.get(value, 0) + 1
        if counts:
            yield FilterGroup(
                name=name,
                links=tuple(
                    FilterLink(value=value, page=_page(name, value), count=count)
                    for value, count in sorted(counts.items())
                ),
            )


def _page(name: str, value: str) -> str:
    """A name that stays the same as long as the value does, whatever characters are in it."""
    slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40]
    kind = name.lower().replace(" ", "-")
    return f"by/{kind}-{slug or 'x'}-{sha256_bytes(value.encode())[:6]}.html"


def _gates(comparison: Comparison, first: RunDocument, second: RunDocument) -> Iterator[GatePair]:
    ours, theirs = (
        {
            (gate.task, gate.metric, gate.kind): shown
            for gate, shown in zip(document.verdict.gates, gate_views(document), strict=True)
        }
        for document in (first, second)
    )
    for gate in comparison.gates:
        name = (gate.task, gate.metric, gate.kind)
        yield GatePair(task=gate.task, rules=gate.rules, first=ours.get(name), second=theirs.get(name))


def outcome(verdict: VerdictValue | None) -> str:
    """A verdict in a word."""
    return "None yet" if verdict is None else VERDICTS[verdict]


def sign_off(signoff: SignOff) -> SiteSignOff:
    """A sign-off as the site shows it."""
    return SiteSignOff(
        decision={"approve": "Approved", "reject": "Rejected"}[signoff.decision],
        person=signoff.reviewer.person,
        role=signoff.reviewer.role,
        time=utc(signoff.time),
        comment=signoff.comment,
    )
