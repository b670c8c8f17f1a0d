"""Two runs side by side: what differs is listed, what cannot be compared is said."""

from __future__ import annotations

from reporting_records import CAPITALS, FAILING, PASSING, digest, make_plan, make_verdict
from test_reporting_exports import document_of

from govern.reporting.comparison import compare
from govern.reporting.facts import Documents


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare(document_of(), document_of())
    assert found.differences == ()
    assert found.notes == ()
    assert all(gate.first == gate.second and gate.same_questions for gate in found.gates)


def test_every_setting_that_differs_is_listed_and_no_other() -> None:
    first, plan = document_of(), make_plan()
    second = document_of(
        plan.model_copy(
            update={
                "seed": 1,
                "parameters": {**{k: v for k, v in plan.parameters.items() if k != "steps"}, "ridge": 0.1},
                "environment": plan.environment.model_copy(update={"threads": 4}),
            }
        ),
        make_verdict(FAILING),
    )
    found = compare(first, second)
    assert [(d.group, d.name, d.first, d.second) for d in found.differences] == [
        ("settings", "parameters.steps", "60", "absent"),
        ("settings", "parameters.ridge", "absent", "0.1"),
        ("settings", "seed", "0", "1"),
        ("environment", "environment.threads", "2", "4"),
    ]
    for difference in found.differences:
        document = first if difference.first != "absent" else second
        Documents(document.to_json()).read(difference.pointer)
    assert (found.first.verdict, found.second.verdict) == ("pass", "fail")
    assert (found.gates[0].first, found.gates[0].second) == (PASSING[0], FAILING[0])


def test_gates_are_paired_by_name_and_their_rules_told_apart() -> None:
    looser = PASSING[0].model_copy(update={"threshold": 0.5})
    found = compare(document_of(), document_of(verdict=make_verdict((CAPITALS, looser))))
    assert [(gate.task, bool(gate.first), bool(gate.second)) for gate in found.gates] == [
        ("symbols", True, True), ("capitals", True, True), ("self", True, False),
    ]  # fmt: skip
    assert found.gates[0].rules == ("A: accuracy at most 40.0 %", "B: accuracy at most 50.0 %")
    assert found.gates[1].rules == ("accuracy drop at most 5.0 points",)


def test_what_cannot_be_compared_is_said() -> None:
    plan = make_plan()
    other_model = plan.model_copy(update={"model": plan.model.model_copy(update={"digest": digest("another")})})
    found = compare(document_of(), document_of(other_model))
    assert not any(gate.same_questions for gate in found.gates)
    assert [note.split(",")[0] for note in found.notes] == ["The base models differ"]

    tasks = tuple(task.model_copy(update={"digest": digest(f"new {task.name}")}) for task in plan.tasks)
    found = compare(document_of(), document_of(plan.model_copy(update={"tasks": tasks})))
    assert [gate.same_questions for gate in found.gates] == [False, False, True]
    assert found.notes[0].startswith("Some question sets differ")

    found = compare(document_of(), document_of(verdict=make_verdict(())))
    assert found.notes == ("The two runs have no gate in common.",)
