"""A policy file as a document: plain values, and the place of each in the file.

Nothing here can build an object: the loader has no constructor, so a tag such as `!!python/object` has nobody to
act on it. Values resolve by the YAML 1.2 core schema (section 10.3): `5e-5` is a number, `no` and `2024-01-01` are
texts. Anchors, aliases, tags and merge keys are refused: a policy says everything once, in the open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from yaml.composer import Composer
from yaml.error import MarkedYAMLError
from yaml.events import AliasEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from govern.errors import PolicyError, PolicyErrors

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_INTEGER = (1 << 53) - 1  # beyond this, JSON (RFC 8785) cannot hold a whole number exactly

_TAG = "tag:yaml.org,2002:"

# Control characters would let a file read other than it means: NUL and friends, line breaks that editors do not
# show as such, and the marks that reorder text on screen. Lone surrogates are not characters at all.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


class Place(NamedTuple):
    """A place in a file: line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Mistake:
    """Something wrong at one place."""

    place: Place
    message: str
    hint: str | None = field(default=None, compare=False)


class Refused(Exception):
    """The text cannot be read as a document at all."""

    def __init__(self, place: Place, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.finding = Mistake(place, message, hint)


@dataclass(frozen=True)
class Document:
    """A mapping read from YAML: its value, its nodes, and what was wrong with single entries.

    `findings` lists duplicate keys, keys that are not text and scalars that cannot be held; `unread` the locations of
    the latter, whose value is None.
    """

    root: MappingNode
    value: dict[str, Any]
    findings: tuple[Mistake, ...]
    unread: frozenset[tuple[str | int, ...]]

    def place(self, *location: str | int) -> Place:
        """The place of the value at `location`, or of the nearest value around it that the file holds."""
        return _place([node for _, node in self._walk(location)][-1])

    def key_place(self, *location: str | int) -> Place:
        """The place of the key that holds the value at `location`; of the value itself in a list."""
        key, node = list(self._walk(location))[-1]
        return _place(key or node)

    def scalar(self, *location: str | int) -> ScalarNode | None:
        """The scalar as it was written at `location`, None where there is no scalar."""
        node = list(self._walk(location))[-1][1]
        return node if isinstance(node, ScalarNode) else None

    def _walk(self, location: tuple[str | int, ...]) -> Iterator[tuple[ScalarNode | None, Node]]:
        """(key, node) from the root along `location`, as far as the file goes."""
        key: ScalarNode | None = None
        node: Node = self.root
        yield key, node
        for step in location:
            key = None
            if isinstance(node, MappingNode):
                entries = [entry for entry in node.value if entry[0].value == step]
                if not entries:
                    return
                key, node = entries[0]
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return
            yield key, node


def read_document(source: bytes, *, path: Path) -> Document:
    """Read a YAML mapping. Raises PolicyErrors with file:line:column where it cannot be read as one."""
    try:
        root = _compose(_decode(source))
        if root is None:
            raise Refused(Place(1, 1), "the file is empty", "Start from a shipped policy.")
        if not isinstance(root, MappingNode):
            raise Refused(_place(root), "expected a mapping (key: value) at the top", "Start from a shipped policy.")
        return _convert_root(root)
    except Refused as refusal:
        raise located([refusal.finding], path=path) from None


def located(findings: list[Mistake], *, path: Path) -> PolicyErrors:
    """Findings as errors, in the order of the file, each once."""
    return PolicyErrors(
        [
            PolicyError(finding.message, where=where(path, finding.place), hint=finding.hint)
            for finding in sorted(dict.fromkeys(findings))
        ]
    )


def where(path: Path, place: Place) -> str:
    """`file:line:column`, as editors and terminals understand it."""
    return f"{path}:{place.line}:{place.column}"


def _decode(source: bytes) -> str:
    if len(source) > MAX_BYTES:
        raise Refused(
            Place(1, 1), f"the file is larger than {MAX_BYTES >> 20} MiB", "A policy is a few kilobytes of text."
        )
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        place = _place_at(source[: error.start].decode(), error.start)
        raise Refused(place, f"byte 0x{source[error.start]:02x} is not UTF-8", "Save the file as UTF-8.") from None
    text = text.removeprefix("\ufeff")
    if found := _FORBIDDEN.search(text):
        raise Refused(_place_at(text, found.start()), *_forbidden(found))
    return text


def _forbidden(found: re.Match[str]) -> tuple[str, str]:
    return f"the character U+{ord(found[0]):04X} is not allowed in a policy", "Remove it; it cannot be seen."


def _place_at(text: str, index: int) -> Place:
    lines = re.split("\r\n|\r|\n", text[:index])
    return Place(len(lines), len(lines[-1]) + 1)


def _place(node: Node) -> Place:
    return _place_of(node.start_mark)


def _place_of(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """Text to nodes. There is no constructor."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0
        self._values = 0

    def start(self) -> None:
        """Pass the start of the stream, which is no content."""
        self.get_event()  # type: ignore[no-untyped-call]

    def upcoming(self) -> tuple[Event, Place]:
        """The event that comes next, and its place."""
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]
        return event, _place_of(event.start_mark)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One node, refused before it is built where it is an alias, anchored, tagged, too deep or one too many."""
        event, place = self.upcoming()
        if isinstance(event, NodeEvent) and event.anchor is not None:
            sign = "*" if isinstance(event, AliasEvent) else "&"
            raise Refused(
                place,
                f"anchors and aliases are not allowed, but here is {sign}{event.anchor}",
                "Write the value out where it is needed.",
            )
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            raise Refused(place, "tags are not allowed", "Remove what begins with `!`; quote a text that does.")
        self._depth += 1
        self._values += 1
        if self._depth > MAX_DEPTH:
            raise Refused(place, f"nested deeper than {MAX_DEPTH} levels", "No part of a policy is that deep.")
        if self._values > MAX_VALUES:
            raise Refused(place, f"more than {MAX_VALUES} values", "Put long lists into the files that a policy names.")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)

for _name, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(rf"(?:{_INTEGER.pattern})\Z"), list("-+0123456789")),
    ("float", re.compile(rf"(?:{_FLOAT.pattern})\Z"), list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _first)


def _compose(text: str) -> Node | None:
    loader = _Loader(text)
    try:
        loader.start()
        root = loader.get_node()
        if not loader.check_event() or loader.check_node():
            place = loader.upcoming()[1]
            raise Refused(place, "a second document begins here", "A file holds one policy; remove what follows `---`.")
        return root
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        problem = error.problem or error.context or "unreadable"
        tab = "'\\t'" in problem
        raise Refused(
            _place_of(mark),
            "a tab stands where YAML expects spaces" if tab else f"this is not YAML: {problem}",
            "Use spaces."
            if tab
            else "Check the indentation, the colons and the quotes on this line and the one above.",
        ) from None
    except (ValueError, OverflowError):
        # PyYAML passes an escape such as "\UFFFFFFFF" to chr() unchecked.
        raise Refused(_place_of(loader.get_mark()), "this escape names no character", "Correct it.") from None
    finally:
        loader.dispose()


def _convert_root(root: MappingNode) -> Document:
    findings: list[Mistake] = []
    unread: set[tuple[str | int, ...]] = set()

    def convert(node: Node, location: tuple[str | int, ...]) -> Any:
        if isinstance(node, MappingNode):
            return mapping(node, location)
        if isinstance(node, SequenceNode):
            return [convert(item, (*location, index)) for index, item in enumerate(node.value)]
        try:
            return _scalar(node)
        except Refused as refusal:
            findings.append(refusal.finding)
            unread.add(location)
            return None

    def mapping(node: MappingNode, location: tuple[str | int, ...]) -> dict[str, Any]:
        value: dict[str, Any] = {}
        first: dict[str, Place] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode) or key.tag != _TAG + "str":
                findings.append(Mistake(_place(key), "a key must be text", "Put it in quotes if it is meant as text."))
            elif key.value == "<<":
                findings.append(Mistake(_place(key), "merge keys (<<) are not allowed", "Write the entries out."))
            elif found := _FORBIDDEN.search(key.value):
                findings.append(Mistake(_place(key), *_forbidden(found)))
            elif key.value in first:
                earlier = first[key.value]
                findings.append(
                    Mistake(
                        _place(key),
                        f"the key {shorten(key.value)} was given before, on line {earlier.line}",
                        "Keep one of the two.",
                    )
                )
            else:
                first[key.value] = _place(key)
                value[key.value] = convert(item, (*location, key.value))
        return value

    value = mapping(root, ())
    return Document(root, value, tuple(findings), frozenset(unread))


def _scalar(node: Node) -> str | int | float | bool | None:
    text: str = node.value
    place = _place(node)
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            number = int(text, base) if len(text) <= 32 else MAX_INTEGER + 1
            if abs(number) > MAX_INTEGER:
                raise Refused(place, "this whole number is too large", "Put it in quotes if it is meant as text.")
            return number
        case "float":
            name = text.lower().lstrip("+-")
            return float(text.lower().replace(".inf", "inf") if name == ".inf" else "nan" if name == ".nan" else text)
        case _:
            if found := _FORBIDDEN.search(text):
                raise Refused(place, *_forbidden(found))
            return text


def shorten(text: str) -> str:
    """A text of the file, quoted, at most 40 characters of it."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
