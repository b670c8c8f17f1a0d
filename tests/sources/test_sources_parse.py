"""What names a source and what does not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.errors import UsageError
from govern.sources import Source, cache_folder, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("builtin:smollm2-135m-instruct", Source("builtin", "smollm2-135m-instruct")),
        ("file:../a b:c.jsonl", Source("file", "../a b:c.jsonl")),
        ("hf:Salesforce/wikitext", Source("hf", "Salesforce/wikitext")),
        ("self:", Source("self", "")),
    ],
)
def test_sources_are_a_scheme_and_a_name(text: str, source: Source) -> None:
    assert parse_source(text) == source
    assert str(source) == text


@pytest.mark.parametrize("text", ["", "file", "file:", "hf:  ", "self:me", "http://x", "builtin:gpt-9", "FILE:x"])
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_source(text)
    assert "smollm2-135m-instruct" in (refused.value.hint or "")


@given(st.text())
def test_no_text_gives_anything_but_a_source_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert str(parse_source(text)) == text


def test_the_cache_goes_where_the_user_says(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "deep" / "cache"))
    assert cache_folder() == tmp_path / "deep" / "cache"
    assert cache_folder().is_dir()
