from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from govern.reporting.text import REPLACEMENT, clean, code_fence, escape_markdown, one_line

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![x](https://evil.example/p.png)",
    "| a | b |\n| --- | --- |",
    "# heading\n## two",
    "- list\n+ list\n1. list\n2) list",
    "```\ncode\n```",
    "    indented code",
    "setext\n===\nmore\n---",
    "***bold*** _em_ ~~gone~~ `code`",
    "https://evil.example www.evil.example ftp://evil.example me@evil.example",
    "&lt;b&gt; &#106; &amp;",
    "$x^2$ \\$ \\\\",
    "> quoted",
    "{{ 7 * 7 }} {% raw %}",
]


def github() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    "hidden", ["\x1b", "\x00", "\x07", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\ud800", "\U000e0041"]
)
def test_hidden_characters_are_shown(hidden: str) -> None:
    assert clean(f"a{hidden}b") == f"a{REPLACEMENT}b"


def test_clean_keeps_what_people_write() -> None:
    text = "Grüße, 世界, می\u200cخواهم\n\tindented\u00a0%"
    assert clean(text) == text
    assert clean("a\r\nb") == "a\nb"
    assert one_line("  a\n\n b\tc ") == "a b c"


@given(st.text())
def test_clean_is_idempotent_and_encodable(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    once.encode()


def shown_by(markdown: str) -> tuple[str, set[str]]:
    """The text that a Markdown reader shows, and the kinds of tokens it met."""
    inline = [token for token in github().parse(markdown) if token.type == "inline"]
    kinds = {token.type for token in github().parse(markdown)}
    children = [child for token in inline for child in token.children or []]
    text = "".join(" " if child.type == "softbreak" else child.content for child in children)
    return text, kinds | {child.type for child in children}


PROSE = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "softbreak"}


@given(st.text(alphabet=st.sampled_from("ab1.)-+=#*_`~[]()<>&!|\\$:/@ \"'{}%"), min_size=1))
@example("1. a")
@example("-")
@example("<b>")
@example("&amp;")
def test_markdown_shows_escaped_text_letter_by_letter(text: str) -> None:
    line = one_line(text)
    shown, kinds = shown_by(f"{escape_markdown(line)}\n")
    assert shown == line
    assert kinds <= PROSE


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_prose_in_markdown(text: str) -> None:
    line = one_line(text)
    shown, kinds = shown_by(escape_markdown(line))
    assert shown == line
    assert kinds <= PROSE


@pytest.mark.parametrize("address", ["https://evil.example", "http://evil.example", "ftp://evil.example"])
def test_bare_addresses_do_not_become_links(address: str) -> None:
    assert not re.search(r"(?<!\\)://", escape_markdown(address))
    assert "www." not in escape_markdown("www.evil.example")
    assert "@" not in escape_markdown("me@evil.example")


@given(st.text(alphabet="`a\n"))
def test_a_fence_is_longer_than_any_run_inside(text: str) -> None:
    assert code_fence(text) not in text
    assert len(code_fence(text)) >= 3
