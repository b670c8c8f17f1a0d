"""Two runs side by side: the terminal and the site show the same view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from govern.records import GateKind, GateResult, VerdictValue
from govern.records.base import Record
from govern.reporting.document import RunDocument
from govern.reporting.exports.judged import rule
from govern.reporting.facts import Line, escape_pointer
from govern.reporting.forms import plain

# What two runs can differ in, and where each is found in a run's document. What was measured is not among them.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("policy", ("policy_name", "policy_digest", "hazard_domain", "hazard_category", "owner", "reviews_required")),
    ("model", ("model",)),
    ("settings", ("method", "parameters", "seed")),
    ("texts", ("corpora", "overlap")),
    ("questions", ("tasks",)),
    ("environment", ("environment",)),
)


class ComparedRun(Record):
    """One of the two."""

    run: Line
    policy: Line
    model: Line
    method: Line
    verdict: VerdictValue
    attempt: int
    issued: Line
    report_signer: Line


class ComparedGate(Record):
    """One gate of either run. `same_questions` says whether both asked the same model the same questions."""

    task: Line
    metric: Literal["acc", "acc_norm", "perplexity"]
    kind: GateKind
    first: GateResult | None
    second: GateResult | None
    same_questions: bool

    @property
    def rules(self) -> tuple[str, ...]:
        """What the gate asks for: one line where both runs ask the same, or only one of them asks."""
        asked = [(name, rule(gate)) for name, gate in (("A", self.first), ("B", self.second)) if gate]
        if len({text for _, text in asked}) == 1:
            return (asked[0][1],)
        return tuple(f"{name}: {text}" for name, text in asked)


class Difference(Record):
    """A field of the plan that is not the same in both. `pointer` finds it in each run's document."""

    group: Line
    pointer: Line
    name: Line
    first: Line
    second: Line


class Comparison(Record):
    """Two runs side by side."""

    format_version: Literal[1] = 1
    first: ComparedRun
    second: ComparedRun
    gates: tuple[ComparedGate, ...]
    differences: tuple[Difference, ...]
    notes: tuple[Line, ...]


def compare(first: RunDocument, second: RunDocument) -> Comparison:
    """Arrange two runs side by side: their gates by task, metric and kind, and every field of the plan that differs."""
    same_model = first.plan.model.digest == second.plan.model.digest
    gates = tuple(_gates(first, second, same_model))
    notes = []
    if not same_model:
        notes.append("The base models differ, so a difference between the gates need not come from the removal.")
    if any(gate.first and gate.second and not gate.same_questions for gate in gates) and same_model:
        notes.append("Some question sets differ under one name: compare no numbers across these.")
    if not any(gate.first and gate.second for gate in gates):
        notes.append("The two runs have no gate in common.")
    return Comparison(
        first=_run(first),
        second=_run(second),
        gates=gates,
        differences=tuple(_differences(first, second)),
        notes=tuple(notes),
    )


def _run(document: RunDocument) -> ComparedRun:
    removal = document.removal
    return ComparedRun(
        run=document.report.run,
        policy=document.plan.policy_name,
        model=document.plan.model.source,
        method=f"{removal.method}, {removal.solver}" if removal.solver else removal.method,
        verdict=document.verdict.verdict,
        attempt=document.verdict.attempt,
        issued=document.report.issued,
        report_signer=document.report.signer.fingerprint,
    )


def _gates(first: RunDocument, second: RunDocument, same_model: bool) -> Iterator[ComparedGate]:
    ours, theirs = _by_name(first), _by_name(second)
    for name in dict.fromkeys((*ours, *theirs)):
        task, metric, kind = name
        one, other = ours.get(name), theirs.get(name)
        yield ComparedGate(
            task=task,
            metric=metric,
            kind=kind,
            first=one,
            second=other,
            same_questions=same_model and _questions(first, task) == _questions(second, task),
        )


def _by_name(document: RunDocument) -> dict[tuple[str, Any, Any], GateResult]:
    return {(gate.task, gate.metric, gate.kind): gate for gate in document.verdict.gates}


def _questions(document: RunDocument, task: str) -> tuple[str, ...]:
    """The digest of a question set, or of all held-back text where a gate is about text."""
    found = tuple(known.digest for known in document.plan.tasks if known.name == task)
    return found or tuple(corpus.digest for corpus in document.plan.corpora if corpus.role == "perplexity")


def _differences(first: RunDocument, second: RunDocument) -> Iterator[Difference]:
    ours, theirs = first.plan.to_json(), second.plan.to_json()
    for group, fields in _GROUPS:
        for field in fields:
            one, other = dict(_leaves(ours[field], (field,))), dict(_leaves(theirs[field], (field,)))
            for path in dict.fromkeys((*one, *other)):
                if path not in one or path not in other or one[path] != other[path]:
                    yield Difference(
                        group=group,
                        pointer="/plan/" + "/".join(map(escape_pointer, path)),
                        name=".".join(path),
                        first=plain(one[path]) if path in one else "absent",
                        second=plain(other[path]) if path in other else "absent",
                    )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every scalar in a JSON value, and every list of scalars, by its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(index)))
    else:
        yield path, value
