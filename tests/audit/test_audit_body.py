"""An event is read from its RFC 8785 form alone, and from no other version's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.audit import parse_event
from govern.digests import canonical_json
from govern.records import Event

ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | ASCII,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ASCII, inner, max_size=3),
    max_leaves=12,
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-(2.0**53) + 1, 2.0**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def event(**changes):
    return canonical_json(
        {
            "format_version": 1, "origin": "o", "seq": 1, "prev": "p", "type": "apply.started", "time": "t",
            "actor": None, "run": None, "trust": None, "policy_digest": None, "model_before": None, "model_after": None,
            "digests": {}, "parameters": {}, "seed": None, "environment": {}, **changes,
        }
    )  # fmt: skip


@settings(max_examples=500)
@given(PLAIN, st.data())
def test_a_changed_byte_is_refused_or_says_something_else(value, data):
    original = event(parameters={"x": value})
    body = bytearray(original)
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 127))
    try:
        found = parse_event(bytes(body))
    except ValueError:
        return
    assert (found == parse_event(original)) == (body == original)
    assert found.canonical() == body


@given(ANY)
def test_an_event_with_any_value_is_read_as_it_was_written(value):
    try:
        body = event(parameters={"x": value})
    except ValueError:
        return
    assert parse_event(body) == Event.parse(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": True},
        {"format_version": 2},
        {"seq": True},
        {"seq": "1"},
        {"seed": "7"},
        {"seed": 1.5},
        {"digests": {"a": 1}},
        {"digests": []},
        {"actor": 1},
        {"type": "apply.dreamt"},
        {"more": 1},
    ],
)
def test_a_field_of_another_kind_is_refused(changes):
    assert parse_event(event()).seq == 1
    with pytest.raises(ValueError, match=f"no event of a known version: {next(iter(changes))}"):
        parse_event(event(**changes))


def test_an_event_names_its_version_itself():
    body = event()
    with pytest.raises(ValueError, match="format_version"):
        parse_event(body.replace(b'"format_version":1,', b""))


def test_a_field_that_an_older_event_lacks_is_no_damage():
    body = event().replace(b',"trust":null', b"")
    assert parse_event(body).trust is None
