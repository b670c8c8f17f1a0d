"""A spoilt policy is a policy or a list of findings with places; never a traceback."""

import os
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_example import EXAMPLE, NAME

from govern.errors import PolicyErrors
from govern.policy import parse_policy

IN_SUITE = 500
IN_CI = int(os.environ.get("GOVERN_FUZZ_EXAMPLES", "10000"))

PLACE = re.compile(r"policy\.yaml:[1-9][0-9]*:[1-9][0-9]*")
WEIRD = st.sampled_from(
    ["\t", "\x00", "\u202e", "\u2028", "\x85", "\ufeff", "﷽", "e\u0301", "🧪", "\r", "&a ", "*a", "!!python/name:os ",
     "<<: ", "---\n", "...\n", "? ", "- ", ": ", "{", "}", "[", "]", "|", ">", "%YAML 9.9\n", "@", "`", "'", '"',
     '"\\UFFFFFFFF"', '"\\ud800"', "#", "\\", "0o9", "1e999", "-.inf", "9" * 400, "~", "null"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["self:", "hf:", "hf:a/b", "file:", "builtin:x", "srmu", "perplexity", "mmlu", "a" * 70])
)
KEYS = SCALARS | st.sampled_from(["method", "srmu", "perplexity", "task", "relative", "sweep", "float", "task gate"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
TREE = yaml.safe_load(EXAMPLE)


@st.composite
def flipped_bytes(draw: st.DrawFn) -> bytes:
    data = bytearray(EXAMPLE.encode())
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@st.composite
def moved_lines(draw: st.DrawFn) -> bytes:
    lines = EXAMPLE.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["delete", "repeat", "indent", "join", "cut"])):
            case "delete":
                lines[at] = ""
            case "repeat":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "indent":
                lines[at] = " " * draw(st.integers(0, 6)) + lines[at].lstrip(" ")
            case "join":
                lines[at] = lines[at].rstrip("\n")
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    return "".join(lines).encode()


@st.composite
def strewn_characters(draw: st.DrawFn) -> bytes:
    text = EXAMPLE
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(WEIRD | st.text(max_size=3)) + text[at:]
    return text.encode("utf-8", "surrogatepass")


@st.composite
def replaced_nodes(draw: st.DrawFn) -> bytes:
    def places(value, path=()):
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from places(inner, (*path, key))

    def put(value, path, new):
        if not path:
            return new
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[path[0]] = put(value[path[0]], path[1:], new)
        return copy

    tree = TREE
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(tree))))
        new = draw(VALUES)
        tree = put(tree, path, new)
    return yaml.dump(tree, sort_keys=False, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


SPOILT = flipped_bytes() | moved_lines() | strewn_characters() | replaced_nodes() | st.binary(max_size=64)


def check(source: bytes) -> None:
    try:
        loaded = parse_policy(source, path=NAME)
    except PolicyErrors as errors:
        refused = errors
    else:
        assert len(loaded.digest) == 64
        assert PLACE.fullmatch(loaded.where("removal", "layer"))
        return
    assert refused.findings
    assert all(PLACE.fullmatch(str(finding.where)) for finding in refused.findings)
    assert all(finding.message and finding.message.isprintable() for finding in refused.findings)
    places = [[int(number) for number in str(finding.where).split(":")[1:]] for finding in refused.findings]
    assert places == sorted(places)


@settings(max_examples=IN_SUITE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPOILT)
def test_a_spoilt_policy_never_gives_a_traceback(source):
    check(source)


@pytest.mark.slow
@settings(max_examples=IN_CI, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPOILT)
def test_thousands_of_spoilt_policies_never_give_a_traceback(source):
    check(source)
