"""The quick way to see that a body is canonical rests on one law."""

from hypothesis import given
from hypothesis import strategies as st

from govern.audit.body import _WRITER, _is_plain
from govern.digests import canonical_json

ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | ASCII,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ASCII, inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN)
def test_where_values_are_plain_pythons_writer_is_rfc_8785(value):
    assert _is_plain(value)
    assert _WRITER.encode(value).encode() == canonical_json(value)


@given(PLAIN, st.floats() | st.integers(min_value=2**53))
def test_one_other_value_anywhere_makes_it_not_plain(value, other):
    assert not _is_plain({"a": [value, {"b": other}]})
