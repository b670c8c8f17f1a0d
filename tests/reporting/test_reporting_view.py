from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from reporting_records import (
    ATTACKS,
    CAPITALS,
    PASSING,
    PERPLEXITY,
    SEQUENTIAL,
    SYMBOLS,
    full_arguments,
    make_arguments,
    make_plan,
    make_removal,
    make_verdict,
    swept_arguments,
    view_of,
)

from govern.records import GateResult, Overlap, Record, RequestIdentity, Verdict
from govern.reporting.document import FailedRun, Issue, Signer
from govern.reporting.facts import Documents, Fact
from govern.reporting.forms import percent, plain, points, seconds, telling_apart, utc
from govern.reporting.render import render_html, render_markdown
from govern.reporting.view import ReportView


def facts_of(value: Any) -> Iterator[Fact]:
    """Every fact in a view, those beside others included."""
    if isinstance(value, Fact):
        yield value
        yield from facts_of(value.beside)
    elif isinstance(value, Record):
        for name in type(value).model_fields:
            yield from facts_of(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from facts_of(item)


def documents_of(arguments: dict[str, Any]) -> Documents:
    issue = Issue(**{name: arguments[name] for name in Issue.model_fields})
    return Documents(
        {name: arguments[name].to_json() for name in ("plan", "removal", "verdict", "sweep") if name in arguments}
        | {"report": issue.to_json()}
    )


def numbers_in(text: str) -> list[float]:
    plain_text = text.replace(",", "").replace("−", "-").replace("–", " ")
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", plain_text)]


@pytest.mark.parametrize(
    "arguments", [make_arguments(), swept_arguments(), full_arguments()], ids=["stated", "swept", "full"]
)
def test_every_number_is_a_rounding_of_the_field_it_names(arguments: dict[str, Any]) -> None:
    documents = documents_of(arguments)
    checked = 0
    for fact in facts_of(view_of(**arguments)):
        value = documents.read(fact.pointer)
        if fact.kind != "number" or value is None:
            continue
        values = {dict: lambda v: list(v.values()), list: lambda v: [len(v)]}.get(type(value), lambda v: [v])(value)
        shown = numbers_in(fact.text)
        if "min" in fact.text:
            shown = [60 * shown[0] + shown[1]]
        if "MiB" in fact.text:
            values = [value / 2**20]
        scale = 100 if re.search("%|points", fact.text) else 1
        assert len(shown) == len(values), fact
        for number, field in zip(shown, values, strict=True):
            assert number == pytest.approx(
                scale * field, abs=0.051 if scale == 100 or "s" in fact.text else 0.0051, rel=6e-4
            ), fact
        checked += 1
    assert checked > 80


def test_every_field_that_a_gate_used_is_on_the_page(any_view: ReportView) -> None:
    pointers = {fact.pointer for fact in facts_of(any_view)}
    for index in range(len(any_view.gates)):
        for name in GateResult.model_fields:
            assert f"/verdict/gates/{index}/{name}" in pointers


def test_every_field_that_an_attack_used_is_on_the_page() -> None:
    view = view_of(**full_arguments())
    pointers = {fact.pointer for fact in facts_of(view)}
    for index, found in enumerate(ATTACKS):
        for name in type(found).model_fields:
            missing = [] if name in ("parameters", "found", "origin") else [f"/verdict/stress/{index}/{name}"]
            missing += [f"/verdict/stress/{index}/parameters/{parameter}" for parameter in found.parameters]
            assert set(missing) <= pointers, (found.name, name)
    assert [gate.outcome.text for gate in view.attack_gates] == ["Pass", "Fail", "Inconclusive"]
    first, second, _ = view.attack_gates
    assert (first.bound.label, second.bound.label) == (
        "Upper bound of what came back",
        "Lower bound of what came back",
    )


def test_every_digest_of_the_records_is_on_the_page() -> None:
    arguments = make_arguments()
    texts = {fact.text for fact in facts_of(view_of(**arguments))}
    digests = set()
    for name in ("plan", "removal", "verdict"):
        digests |= set(re.findall(r"\b[0-9a-f]{64}\b", arguments[name].model_dump_json()))
    assert len(digests) >= 12
    assert digests - texts == set()


@pytest.mark.parametrize(
    ("kind", "verdict", "name"),
    [
        ("ceiling", "pass", "Upper bound of the accuracy after"),
        ("ceiling", "fail", "Lower bound of the accuracy after"),
        ("floor", "pass", "Lower bound of the accuracy after"),
        ("floor", "fail", "Upper bound of the accuracy after"),
        ("floor", "inconclusive", "Lower bound of the accuracy after"),
        ("max_drop", "inconclusive", "Upper bound of the drop"),
    ],
)
def test_a_bound_is_named_by_the_side_that_decided(kind: str, verdict: str, name: str) -> None:
    gate = SYMBOLS.model_copy(update={"kind": kind, "verdict": verdict})
    view = view_of(**make_arguments(verdict=make_verdict((gate,))))
    assert view.gates[0].bound.label == name


def test_a_bound_just_past_its_threshold_does_not_look_equal_to_it() -> None:
    gate = SYMBOLS.model_copy(update={"bound": 0.40003, "verdict": "inconclusive"})
    view = view_of(**make_arguments(verdict=make_verdict((gate,))))
    assert (view.gates[0].bound.text, view.gates[0].threshold.text) == ("40.003\u00a0%", "40.000\u00a0%")


def test_the_sentence_counts_the_gates_that_decided(any_view: ReportView) -> None:
    # The one gate that the full report was stopped before counts as well.
    left = sum(fact.pointer == "/verdict/sequential/unjudged" for fact in any_view.results_facts)
    assert (
        any_view.sentence
        == {
            "pass": "All 3 gates of the policy are met.",
            "fail": f"1 of {3 + len(any_view.attack_gates) + left} gates failed: the removal does not meet the policy.",
            "inconclusive": "2 of 3 gates could not be decided. This is not a pass.",
        }[any_view.verdict]
    )


def stopped_verdict() -> Verdict:
    """A verification that stopped at a gate, with two gates that it did not come to."""
    failed = SYMBOLS.model_copy(update={"verdict": "fail"})
    left = ("self:", "symbols/recovery/format: letters")
    return make_verdict((failed,)).model_copy(update={"sequential": SEQUENTIAL.model_copy(update={"unjudged": left})})


def test_the_sentence_counts_gates_that_an_early_stop_left_out() -> None:
    view = view_of(**make_arguments(verdict=stopped_verdict()))
    assert view.sentence == "1 of 3 gates failed: the removal does not meet the policy."


def test_after_an_early_stop_nobody_says_that_the_policy_asks_for_no_attack() -> None:
    asked, stopped = (view_of(**make_arguments(verdict=verdict)) for verdict in (make_verdict(), stopped_verdict()))
    for view, none, before in ((asked, True, False), (stopped, False, True)):
        (claim,) = [claim.text for claim in view.not_claimed if claim.label == "No attack was tried"]
        assert ("No stress test was part of this policy" in claim) == none
        assert ("A gate failed before any attack" in claim) == before
        for page in (render_html(view).data.decode(), render_markdown(view).data.decode()):
            assert ("The policy asks for no attack, so nothing is known" in page) == none
            assert ("Verification stopped at a gate that failed, before any attack, so" in page) == before
            assert ("the policy asks for no attack" in page) == none


def test_the_command_that_verifies_again_names_a_seed_that_no_policy_has() -> None:
    def commands(**changes: Any) -> str:
        arguments = make_arguments(**changes)
        return " ".join(each.command for each in view_of(**arguments).monitoring_commands)

    assert "--seed 20261124101842 " in commands()
    kept = tuple(corpus for corpus in make_plan().corpora if corpus.role != "perplexity")
    assert "--seed" not in commands(plan=make_plan(corpora=kept))


def test_no_gates_at_all_is_no_pass() -> None:
    view = view_of(**make_arguments(verdict=make_verdict(())))
    assert view.verdict == "inconclusive"
    assert view.sentence == "The policy has no gates, so nothing was decided."


def claims(**changes: Any) -> set[str]:
    return {claim.label for claim in view_of(**make_arguments(**changes)).not_claimed}


def test_limits_follow_from_the_records() -> None:
    kept = Signer(fingerprint="f" * 64, throwaway=False)
    plain_plan = make_plan()
    base = claims(signer=kept)
    assert {"Absence is not proven", "No attack was tried", "Only this model"} <= base
    assert claims(signer=kept, verdict=make_verdict(attempt=2)) - base == {"A repeated attempt"}
    assert claims() - base == {"No identity"}
    entangled = make_plan(overlap=(Overlap(topic="default", unigram=0.31, bigram=0.1, warn=True),))
    assert claims(signer=kept, plan=entangled) - base == {"Entangled text"}
    dirty = plain_plan.model_copy(update={"environment": plain_plan.environment.model_copy(update={"dirty": True})})
    assert claims(signer=kept, plan=dirty) - base == {"Uncommitted code"}
    licensed = make_plan(corpora=tuple(c.model_copy(update={"licence": "MIT"}) for c in plain_plan.corpora))
    assert base - claims(signer=kept, plan=licensed) == {"Licences"}


def test_named_topics_are_on_the_first_screen_once_each() -> None:
    forget = make_plan().corpora[0]
    topics = ("biology", "chemistry", "biology", "default", "")
    plan = make_plan(corpora=tuple(forget.model_copy(update={"topic": topic}) for topic in topics))
    view = view_of(**make_arguments(plan=plan))
    named = [(fact.pointer, fact.text) for fact in view.summary if fact.label == "Topic"]
    assert named == [("/plan/corpora/0/topic", "biology"), ("/plan/corpora/1/topic", "chemistry")]
    assert [any(fact.label == "Topic" for fact in corpus) for corpus in view.corpora] == [True] * 4 + [False]


def test_drift_is_a_side_effect_and_other_figures_are_not() -> None:
    view = view_of(**make_arguments())
    assert [fact.label for fact in view.side_effects] == ["default.first_token_drift"]
    assert "default.target_norm" in [fact.label for fact in view.figures]


def test_nested_parameters_keep_their_place() -> None:
    plan = make_plan(parameters={"train": {"layers": [5, 6], "modules": ["mlp.down_proj"]}, "layer": 7, "extra": {}})
    parameters = {fact.label: (fact.pointer, fact.text) for fact in view_of(**make_arguments(plan=plan)).parameters}
    assert parameters == {
        "extra": ("/plan/parameters/extra", "none"),
        "layer": ("/plan/parameters/layer", "7"),
        "train.layers": ("/plan/parameters/train/layers", "5, 6"),
        "train.modules": ("/plan/parameters/train/modules", "mlp.down_proj"),
    }


def test_pointers_escape_names_as_rfc_6901_says() -> None:
    documents = Documents({"plan": {"a/b": {"c~d": 1.5}}})
    (fact,) = documents.facts("/plan/a~1b")
    assert (fact.pointer, fact.text) == ("/plan/a~1b/c~0d", "1.5")


@pytest.mark.parametrize(
    ("required", "roles", "expected"),
    [
        (0, (), ()),
        (0, ("safety-reviewer",), ()),
        (2, ("safety-reviewer", "legal"), ("safety-reviewer", "legal")),
        (2, ("safety-reviewer",), ("safety-reviewer", "safety-reviewer")),
        (1, ("safety-reviewer", "legal"), ("safety-reviewer or legal",)),
        (1, (), ("reviewer",)),
    ],
)
def test_one_line_to_sign_for_each_required_sign_off(
    required: int, roles: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    plan = make_plan(reviews_required=required, review_roles=roles)
    assert view_of(**make_arguments(plan=plan)).sign_offs == expected


def test_a_single_step_and_many_topics_are_shown() -> None:
    removal = make_removal(curve=make_removal().curve[:1], solver=None)
    view = view_of(**make_arguments(removal=removal))
    assert view.curve_charts == ()
    assert len(view.curve.rows) == 1
    assert view_of(**make_arguments(removal=make_removal(curve=()))).curve.rows == ()


def test_formats() -> None:
    assert percent(0.4) == "40.0\u00a0%"
    assert percent(-0.004) == "−0.4\u00a0%"
    assert percent(1e308) == "without bound"
    assert points(0.0193) == "1.9\u00a0points"
    assert seconds(13.44) == "13.4\u00a0s"
    assert seconds(71.3) == "1\u00a0min\u00a011.3\u00a0s"
    assert seconds(119.97) == "2\u00a0min\u00a000.0\u00a0s"
    assert plain(5e-05) == "5e-05"
    assert plain(-1.5) == "−1.5"
    assert plain([5, 6]) == "5, 6"
    assert utc("2026-11-24T10:18:42.120345Z") == "2026-11-24 10:18:42 UTC"
    assert utc("yesterday") == "yesterday"
    assert telling_apart(0.4, 0.4, percent) == 1
    assert telling_apart(0.4, 0.4003, percent) == 2
    assert telling_apart(0.4, 0.4 + 1e-12, percent) == 6


def test_failed_runs_are_listed() -> None:
    failed = FailedRun(run="r-1", type="verify.finished", time="2026-11-24T09:00:00Z", message=None)
    (row,) = view_of(**make_arguments(failed_runs=(failed,))).failed_runs.rows
    assert [fact.text for fact in row] == ["r-1", "verify.finished", "2026-11-24 09:00:00 UTC", "none"]


def test_earlier_verifications_are_listed() -> None:
    view = view_of(**make_arguments())
    assert [[fact.text for fact in row] for row in view.verifications.rows] == [
        ["2026-10-02 08:00:00 UTC", "Fail", "1", "0.4.9", "0.1.0"],
        ["2026-11-24 10:18:40 UTC", "Pass", "2", "0.4.13", "0.1.0"],
    ]
    assert view.results_facts[-1].text == "2027-11-24 10:18:40 UTC"
    (end,) = view_of(**make_arguments(valid_until=None)).results_facts[-1:]
    assert end.text == "the policy sets no end"


def test_a_request_is_named_by_its_number_alone() -> None:
    request = RequestIdentity(kind="privacy", id="DSR-2026-0142", fingerprints="f" * 64, subjects=3)
    scope = view_of(**make_arguments(plan=make_plan(request=request))).scope
    assert [(fact.text, fact.beside.text if fact.beside else None) for fact in scope[2:5]] == [
        ("DSR-2026-0142", "privacy"), ("3", None), ("f" * 64, None),
    ]  # fmt: skip


def test_letters_stand_beside_cloze() -> None:
    results = view_of(**make_arguments(verdict=make_verdict((*PASSING, CAPITALS, PERPLEXITY)))).results
    forms = {result.task.text: result.form.text if result.form else None for result in results}
    assert forms == {"symbols": "cloze", "symbols-letters": "letters", "capitals": "cloze", "self": None}


@pytest.mark.parametrize("topic", ["drift", "drifting", "first_token_drift", "x.drift"])
def test_a_topic_with_the_name_of_a_side_effect_moves_no_figure(topic: str) -> None:
    names = (f"{topic}.target_norm", f"{topic}.layer_3.coefficient", f"{topic}.first_token_drift")
    view = view_of(**make_arguments(removal=make_removal(figures=dict.fromkeys(names, 1.0))))
    assert [fact.label for fact in view.side_effects] == [names[-1]]
    assert {fact.label for fact in view.figures} == set(names[:-1])
