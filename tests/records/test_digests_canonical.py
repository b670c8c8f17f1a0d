"""RFC 8785 by the quick way is RFC 8785 by the slow one, for every value, and so is what both refuse."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.digests import _plain, canonical_json

ASCII = st.text(st.characters(max_codepoint=127), max_size=8)


def values(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


PLAIN = values(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | ASCII, ASCII)
ANY = values(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.text(max_size=8))


def outcome(write: Any, value: Any) -> Any:
    try:
        return write(value)
    except Exception as error:
        return type(error)


@settings(max_examples=500)
@given(ANY | st.floats() | st.integers(0, 2000).map(lambda number: {chr(number): chr(number)}))
def test_both_ways_write_the_same(value: Any) -> None:
    assert outcome(canonical_json, value) == outcome(rfc8785.dumps, value)


@pytest.mark.parametrize(
    "value",
    [
        0.0, -0.0, 1.0, 1e-4, 9.9999e-5, 1e-7, 1e15, 1e15 - 0.125, 1e16, 1e21, 5e-324, 1.7976931348623157e308,
        2**53 - 1, 2**53, -(2**53), 10**400, float("nan"), float("inf"), True, "\u2028\x7f\x1f", "\ud800",
        {"\ud800": 1}, {1: 2}, {"b": 1, "a": {"é": 1, "z": 2}}, {"\ue000": 1, "\U00010000": 2}, b"bytes", {1, 2}, (),
    ],
)  # fmt: skip
def test_both_ways_agree_at_every_edge(value: Any) -> None:
    assert outcome(canonical_json, value) == outcome(rfc8785.dumps, value)


@given(PLAIN)
def test_nearly_all_values_go_the_quick_way(value: Any) -> None:
    assert _plain(value) == (list(value) if isinstance(value, tuple) else value) or "(" in repr(value)
