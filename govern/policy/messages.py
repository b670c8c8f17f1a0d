"""pydantic's findings in plain words, each at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails

from govern.policy.document import Document, Mistake, shorten
from govern.policy.part import PATTERNS, did_you_mean
from govern.policy.schema import json_schema

Location = tuple[str | int, ...]

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


class _Located(NamedTuple):
    """An error, where it is in the document, and the branches of unions that pydantic took to get there."""

    error: ErrorDetails
    location: Location
    branches: tuple[tuple[Location, str], ...]


def explain(errors: Sequence[ErrorDetails], document: Document) -> list[Mistake]:
    """One finding for each error that matters: of a union, only the branch that the file meant."""
    located = [_locate(error, document.value) for error in errors]
    located = [entry for entry in located if not _follows(entry, document)]
    findings = []
    unions = {union for entry in located for union, _ in entry.branches}
    for union in sorted(unions, key=len):
        inside = [entry for entry in located if union in dict(entry.branches)]
        chosen = _meant(union, inside)
        located = [entry for entry in located if entry not in inside or entry in chosen]
        if inside and not chosen:
            findings.append(
                Mistake(
                    document.place(*union),
                    f"{_key(union)}: expected {' or '.join(dict.fromkeys(map(_describe, _branches(union))))}, "
                    f"found {_found(_value(document.value, union))}",
                )
            )
    return findings + [_explain(entry, document) for entry in located]


def _locate(error: ErrorDetails, value: dict[str, Any]) -> _Located:
    """Separate the keys of an error's location from the union tags among them."""
    location: list[str | int] = []
    branches: list[tuple[Location, str]] = []
    at: Any = value
    steps = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    for step in steps:
        inner = _step(at, step)
        if inner is _NOTHING:
            branches.append((tuple(location), str(step)))
        else:
            location.append(step)
            at = inner
    if error["type"] == "union_tag_invalid" and _step(at, _discriminator(error)) is not _NOTHING:
        location.append(_discriminator(error))
    return _Located(error, tuple(location), tuple(branches))


def _discriminator(error: ErrorDetails) -> str:
    """The key that chooses the branch of a union."""
    return str(error["ctx"]["discriminator"]).strip("'")


_NOTHING = object()


def _step(value: Any, step: str | int) -> Any:
    """What `value` holds at `step`, `_NOTHING` where it holds nothing there."""
    if isinstance(value, dict):
        return value.get(step, _NOTHING)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return _NOTHING


def _follows(entry: _Located, document: Document) -> bool:
    """Whether an error only repeats another: of a value that could not be read, or of a list short of bad entries."""
    if entry.location in document.unread:
        return True
    least = entry.error.get("ctx", {}).get("min_length", 0) if entry.error["type"] == "too_short" else 0
    return 0 < least <= len(_value(document.value, entry.location))


def _meant(union: Location, entries: list[_Located]) -> list[_Located]:
    """The errors of the branch that fits the value's shape; none where no single branch does."""
    by_branch: dict[str, list[_Located]] = {}
    for entry in entries:
        by_branch.setdefault(dict(entry.branches)[union], []).append(entry)
    fitting = [group for group in by_branch.values() if not any(_wrong_shape(entry, union) for entry in group)]
    if len(by_branch) == 1:
        return entries
    return fitting[0] if len(fitting) == 1 else []


def _wrong_shape(entry: _Located, union: Location) -> bool:
    """Whether the value is not even of the branch's kind: another type, or a mapping with other keys."""
    kind = entry.error["type"]
    return entry.location == union and ((kind in _WANTED and kind != "finite_number") or kind == "missing")


def _explain(entry: _Located, document: Document) -> Mistake:
    error, location = entry.error, entry.location
    kind, context = error["type"], error.get("ctx", {})
    name = _key(location)
    if kind == "missing" or (kind == "union_tag_not_found" and _discriminator(error).isidentifier()):
        key = str(error["loc"][-1]) if kind == "missing" else _discriminator(error)
        owner = name or "the policy"
        return Mistake(document.key_place(*location), f"missing key {key!r} in {owner}", _description((*location, key)))
    if kind == "extra_forbidden":
        known = sorted({key for schema in _schemas(location[:-1]) for key in schema.get("properties", {})})
        if str(location[-1]) in known:
            hint = "Another choice here has this key; this one does not."
        else:
            hint = did_you_mean(str(location[-1]), known) or f"Known keys here: {', '.join(known)}."
        owner = _key(location[:-1]) or "the policy"
        return Mistake(document.key_place(*location), f"unknown key {shorten(str(location[-1]))} in {owner}", hint)
    if kind == "policy":
        return Mistake(document.place(*location), f"{name}: {error['msg']}" if name else error["msg"], context["hint"])

    expected, advice = _expected(entry, document)
    found = _found(_value(document.value, location))
    message = f"expected {expected}, found {found}"
    return Mistake(document.place(*location), f"{name}: {message}" if name else message, advice)


def _expected(entry: _Located, document: Document) -> tuple[str, str | None]:
    """What the schema wants there, and a hint where there is one."""
    error, location = entry.error, entry.location
    kind, context = error["type"], error.get("ctx", {})
    described = _description(location)
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"a number {word} {context[bound]:g}", described
    if kind == "literal_error":
        choices = [str(choice) for schema in _schemas(location) for choice in _choices(schema)]
        hint = did_you_mean(error["input"], choices) if isinstance(error["input"], str) else None
        return " or ".join(choices), hint or described
    if kind == "union_tag_invalid":
        tags = str(context["expected_tags"]).replace("'", "").split(", ")
        return " or ".join(tags), did_you_mean(str(context["tag"]), tags) or described
    if kind == "union_tag_not_found":
        return f"a mapping with the key {str(context['discriminator']).replace(chr(39), '')}", described
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"text like {context['pattern']}"), described
    if kind == "too_short":
        return f"a list of at least {context['min_length']}", described
    if kind == "too_long":
        return "an empty list" if context["max_length"] == 0 else f"at most {context['max_length']} entries", described
    wanted = _WANTED.get(kind)
    scalar = document.scalar(*location)
    if wanted == "text" and scalar is not None and scalar.value:
        return wanted, "Put it in quotes."
    if wanted is not None and wanted.endswith("number") and scalar is not None and scalar.style in {"'", '"'}:
        return wanted, "Remove the quotes."
    return wanted or error["msg"], described


def _key(location: Location) -> str:
    """A location as one reads it: removal.train.layers[2]."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")


def _value(value: Any, location: Location) -> Any:
    for step in location:
        value = _step(value, step)
    return value


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return "a mapping"


def _schemas(location: Location) -> list[dict[str, Any]]:
    """The JSON Schemas that may describe the value at a location, with references and unions resolved."""
    found = list(_resolve(json_schema()))
    for step in location:
        inner = [
            schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step) for schema in found
        ]
        found = [resolved for schema in inner if schema for resolved in _resolve(schema)]
    return found


def _resolve(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from _resolve(json_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema or "oneOf" in schema:
        for branch in schema.get("anyOf") or schema["oneOf"]:
            yield from _resolve(branch)
    else:
        yield schema


def _branches(location: Location) -> list[dict[str, Any]]:
    return [schema for schema in _schemas(location) if schema.get("type") != "null"]


def _description(location: Location) -> str | None:
    """The schema's own words about a key."""
    if not location or isinstance(location[-1], int):
        return None
    keys = [schema.get("properties", {}).get(location[-1], {}) for schema in _schemas(location[:-1])]
    # pydantic leaves a key's description out where it is the one of the part that it refers to.
    return next((schema["description"] for schema in keys + _schemas(location) if "description" in schema), None)


def _choices(schema: dict[str, Any]) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _describe(schema: dict[str, Any]) -> str:
    if schema.get("type") == "object":
        return f"a mapping with {' and '.join(schema.get('required', ()))}"
    if schema.get("type") in {"number", "integer"}:
        above = schema.get("exclusiveMinimum")
        return "a number" if above is None else f"a number above {above:g}"
    choices = _choices(schema)
    return " or ".join(map(str, choices)) if choices else {"string": "text", "array": "a list"}.get(schema["type"], "")
