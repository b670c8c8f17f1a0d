"""Laws that hold for every record."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from govern.digests import canonical_json, texts_digest
from govern.records import Event, Interval, Person, worst


def test_a_record_reads_back_from_its_own_bytes() -> None:
    person = Person(name="Ada", role="engineer")
    assert Person.parse(person.canonical()) == person
    assert person.canonical() == canonical_json({"name": "Ada", "role": "engineer"})


def test_a_record_is_frozen_and_refuses_what_it_does_not_know() -> None:
    person = Person(name="Ada", role="engineer")
    with pytest.raises(ValidationError):
        person.name = "Bob"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Person.parse(b'{"name": "Ada", "role": "engineer", "badge": 7}')
    with pytest.raises(ValidationError):
        Interval(low=float("nan"), high=1.0)


def test_fail_outranks_inconclusive_outranks_pass() -> None:
    assert worst(["pass", "inconclusive", "fail"]) == "fail"
    assert worst(["pass", "inconclusive"]) == "inconclusive"
    assert worst(["pass", "pass"]) == "pass"
    assert worst([]) == "inconclusive"


def test_an_unknown_event_type_is_refused() -> None:
    with pytest.raises(ValidationError):
        Event(
            origin="o", seq=0, prev="0" * 64, type="apply.maybe", time="", actor=None, run=None, policy_digest=None,
            model_before=None, model_after=None, digests={}, parameters={}, seed=None, environment={},
        )  # fmt: skip


def test_joining_texts_changes_their_digest() -> None:
    assert texts_digest(["ab", "c"]) != texts_digest(["a", "bc"]) != texts_digest(["abc"])
