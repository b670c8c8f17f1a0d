"""What a file may look like before anybody asks what it says."""

import time

import pytest
from policy_example import EXAMPLE, NAME, findings, parse

from govern.errors import PolicyErrors
from govern.policy.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_document


def value(text: str) -> object:
    return read_document(f"key: {text}\n".encode(), path=NAME).value["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5e-5", 5e-5),
        ("5.0e-5", 5e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", float("-inf")),
        ("12", 12),
        ("+12", 12),
        ("012", 12),
        ("0o17", 15),
        ("0xff", 255),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # Where YAML 1.1 would guess, these are what they look like.
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("190:20:30", "190:20:30"),
        ("0b101", "0b101"),
        ("=", "="),
        ("e5", "e5"),
        ("tRUE", "tRUE"),
        ("'5'", "5"),
    ],
)
def test_scalars_follow_the_yaml_1_2_core_schema(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_not_a_number_is_read_and_left_to_the_schema():
    assert str(value(".nan")) == "nan"


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        (b"", "1:1", "the file is empty"),
        (b"# only a comment\n", "1:1", "the file is empty"),
        (b"- a\n- b\n", "1:1", "expected a mapping"),
        (b"just words\n", "1:1", "expected a mapping"),
        (b"a: 1\n---\nb: 2\n", "2:1", "a second document"),
        (b"a: 1\nb:\n\tc: 2\n", "3:1", "a tab stands where YAML expects spaces"),
        (b"a:\t1\n", "1:3", "a tab stands where YAML expects spaces"),
        (b"a: 1\n b: 2\n", "2:3", "this is not YAML"),
        (b"a: [1, 2\nb: 3\n", "2:2", "this is not YAML"),
        (b"a: 'never closed\n", "2:1", "this is not YAML"),
        (b"ok: 1\nb: caf\xe9\n", "2:7", "byte 0xe9 is not UTF-8"),
        ("a: é\u0000\n".encode(), "1:5", "the character U+0000"),
        (b"a: 1\nb: x\x1b[31m\n", "2:5", "the character U+001B"),
        ("a: 1\nb: \u202etxet\n".encode(), "2:4", "the character U+202E"),
        (b'a: "\\u202e"\n', "1:4", "the character U+202E"),
        (b'a: "\\0"\n', "1:4", "the character U+0000"),
        (b'a: "\\ud800"\n', "1:4", "the character U+D800"),
        (b'a: "\\UFFFFFFFF"\n', "1:7", "this escape names no character"),
        (b"a: &x 1\nb: *x\n", "1:4", "anchors and aliases are not allowed, but here is &x"),
        (b"a: *x\n", "1:4", "anchors and aliases are not allowed, but here is *x"),
        (b"a: 1\nb: !!python/object/apply:os.system [id]\n", "2:4", "tags are not allowed"),
        (b"a: !!str 1\n", "1:4", "tags are not allowed"),
        (b"a: ! 1\n", "1:4", "tags are not allowed"),
        (b"a: 1\na: 2\n", "2:1", "the key 'a' was given before, on line 1"),
        (b"1: a\n", "1:1", "a key must be text"),
        (b"true: a\n", "1:1", "a key must be text"),
        (b"? [a, b]\n: c\n", "1:3", "a key must be text"),
        (b"a: {<<: {b: 1}}\n", "1:5", "merge keys"),
        (b"a: 123456789012345678901234567890\n", "1:4", "this whole number is too large"),
        (b"a: " + b"9" * 5000, "1:4", "this whole number is too large"),
        (b"a: 9007199254740992\n", "1:4", "this whole number is too large"),
        (b"%YAML 2.0\n---\na: 1\n", "1:1", "this is not YAML"),
        (b"\xff\xfea\x00", "1:1", "byte 0xff is not UTF-8"),
    ],
)
def test_what_cannot_be_read_has_a_place(source, where, message):
    found = findings(source)
    assert [(place, text[: len(message)]) for place, text, _ in found if text.startswith(message)] == [(where, message)]
    assert all(hint for _, text, hint in found if text.startswith(message))


def test_tabs_come_with_the_remedy():
    assert findings(EXAMPLE.replace("  domain", "\tdomain")) == [
        ("9:1", "a tab stands where YAML expects spaces", "Use spaces.")
    ]


def test_a_byte_order_mark_does_not_shift_columns():
    assert parse("\ufeff" + EXAMPLE).digest == parse(EXAMPLE).digest
    assert findings(b"\xef\xbb\xbfa: *x\n")[0][0] == "1:4"


def test_windows_line_ends_are_the_same_policy():
    assert parse(EXAMPLE.replace("\n", "\r\n")).digest == parse(EXAMPLE).digest


def test_the_largest_whole_number_is_what_json_can_hold():
    assert value("9007199254740991") == 2**53 - 1


def test_an_alias_bomb_ends_at_its_first_anchor():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert findings(bomb)[0][:2] == ("1:4", "anchors and aliases are not allowed, but here is &a")


def test_a_ten_megabyte_bomb_is_refused_before_it_is_parsed(tmp_path):
    bomb = b"a: &a [x]\nb: [" + b"*a, " * 2_500_000 + b"]\n"
    started = time.perf_counter()
    assert findings(bomb)[0][:2] == ("1:1", "the file is larger than 1 MiB")
    assert time.perf_counter() - started < 1


def test_the_size_limit_is_exact():
    room = MAX_BYTES - len(EXAMPLE.encode())
    assert findings(EXAMPLE + "#" * room) == []
    assert findings(EXAMPLE + "#" * (room + 1))[0][1] == "the file is larger than 1 MiB"


def test_nesting_and_the_number_of_values_are_bounded():
    deep = MAX_DEPTH - 1  # the mapping at the top is a level, too
    read_document(f"a: {'[' * deep}{']' * deep}".encode(), path=NAME)
    assert findings("a: " + "[" * 100_000)[0][:2] == (f"1:{4 + deep}", f"nested deeper than {MAX_DEPTH} levels")
    many = MAX_VALUES - 3  # the mapping, its key and the list
    read_document(f"a: [{'b,' * many}]".encode(), path=NAME)
    with pytest.raises(PolicyErrors, match=f"more than {MAX_VALUES} values"):
        read_document(f"a: [{'b,' * (many + 1)}]".encode(), path=NAME)
