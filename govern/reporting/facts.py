"""Facts: single values of the records, formatted once, so that every rendering prints the same.

A fact is read by its JSON Pointer (RFC 6901) from the run's documents, so that nothing on the page can come from
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from govern.records.base import Record
from govern.records.verdict import VerdictValue
from govern.reporting.text import clean, one_line

Text = Annotated[str, AfterValidator(clean)]
Line = Annotated[str, AfterValidator(one_line)]

Form = Callable[[Any], str]
Kind = Literal["text", "number", "code", "prose", "verdict"]

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

# Records hold finite numbers only; evaluation writes 1e308 where the data give no bound at all.
LARGEST_FINITE = 1e300


class Fact(Record):
    """One value as it is printed. `pointer` finds it in `{plan, removal, verdict, report}`; `beside` goes with it.

    Only prose has lines of its own.
    """

    pointer: Line
    label: Line
    text: Text
    kind: Kind = "text"
    beside: Fact | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_line(cls, fields: Any) -> Any:
        if fields.get("kind") == "prose":
            return fields
        return {**fields, "text": one_line(fields["text"])}


class Column(Record):
    """A table's column; numbers are set flush right."""

    label: Line
    numeric: bool = False


class Table(Record):
    """Rows of facts under columns; the first fact of a row heads it."""

    caption: Line
    columns: tuple[Column, ...]
    rows: tuple[tuple[Fact, ...], ...]


@dataclass(frozen=True)
class Documents:
    """The JSON documents that facts are read from, by name."""

    values: Mapping[str, Any]

    def read(self, pointer: str) -> Any:
        """The JSON value at an RFC 6901 pointer. Raises KeyError or IndexError where there is none."""
        value: Any = self.values
        for token in pointer.removeprefix("/").split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        return value

    def fact(
        self, pointer: str, label: str, form: Form | None = None, *, kind: Kind = "text", beside: Fact | None = None
    ) -> Fact:
        """The value at `pointer`, printed by `form`."""
        value = self.read(pointer)
        if value is None and kind == "code":
            kind = "text"
        return Fact(pointer=pointer, label=label, text=(form or plain)(value), kind=kind, beside=beside)

    def facts(self, pointer: str, *, kind: Kind = "text") -> tuple[Fact, ...]:
        """One fact for each entry of the JSON object at `pointer`, by name; names in nested objects get dots."""
        found: list[Fact] = []
        for name, value in sorted(self.read(pointer).items()):
            here = f"{pointer}/{escape_pointer(name)}"
            if isinstance(value, dict) and value:
                found += [
                    inner.model_copy(update={"label": one_line(f"{name}.{inner.label}")}) for inner in self.facts(here)
                ]
            else:
                found.append(self.fact(here, name, kind=kind))
        return tuple(found)


def escape_pointer(name: str) -> str:
    """A member's name as a token of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def plain(value: Any) -> str:
    """A JSON value in words: six significant digits for a float, and "not recorded" for null."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", MINUS, 1) if value < 0 else f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return "none" if value == {} else str(value)


def short(value: float | None) -> str:
    """Four significant digits: a loss, a norm."""
    return "not recorded" if value is None else plain(float(f"{value:.4g}"))


def count(value: Any) -> str:
    """An integer with thousands separated; a list or an object counts its members."""
    return f"{len(value) if isinstance(value, list | dict) else value:,}"


def or_else(form: Form, absent: str) -> Form:
    """`form`, but null is printed as `absent`."""
    return lambda value: absent if value is None else form(value)


def percent(value: float, decimals: int = 1) -> str:
    """A share in per cent."""
    return _fixed(100 * value, decimals, f"{NO_BREAK_SPACE}%")


def points(value: float, decimals: int = 1) -> str:
    """A difference of two shares in percentage points."""
    return _fixed(100 * value, decimals, f"{NO_BREAK_SPACE}points")


def perplexity(value: float) -> str:
    """A perplexity with two decimals."""
    return _fixed(value, 2, "")


def _fixed(value: float, decimals: int, unit: str) -> str:
    if abs(value) > LARGEST_FINITE:
        return "without bound"
    text = f"{value:.{decimals}f}{unit}"
    return text.replace("-", MINUS, 1) if value < 0 else text


def utc(value: str) -> str:
    """An RFC 3339 time in UTC, to the second."""
    return f"{value[:10]} {value[11:19]} UTC" if re.fullmatch(r"[-\d]{10}T[:\d]{8}(\.\d+)?Z", value) else value


def measure(metric: str) -> Callable[[float], str]:
    """How values of a metric are printed."""
    return perplexity if metric == "perplexity" else percent


def interval(metric: str) -> Form:
    """How two-sided intervals of a metric are printed: the unit once, at the end."""
    form = measure(metric)

    def text(value: Any) -> str:
        low, high = form(value["low"]), form(value["high"])
        return f"{low.removesuffix(f'{NO_BREAK_SPACE}%')}–{high}"

    return text


def telling_apart(first: float, second: float, form: Callable[[float, int], str]) -> int:
    """The fewest decimals, from one to six, at which two different values do not print alike."""
    for decimals in range(1, 6):
        if first == second or form(first, decimals) != form(second, decimals):
            return decimals
    return 6


def seconds(value: float) -> str:
    """A duration."""
    minutes, rest = divmod(round(value, 1), 60)
    if not minutes:
        return f"{rest:.1f}{NO_BREAK_SPACE}s"
    return f"{minutes:.0f}{NO_BREAK_SPACE}min{NO_BREAK_SPACE}{rest:04.1f}{NO_BREAK_SPACE}s"


def mebibytes(value: int) -> str:
    """A size of memory."""
    return f"{value / 2**20:,.0f}{NO_BREAK_SPACE}MiB"


UNITS: dict[str, Callable[..., str]] = {"percent": percent, "points": points}
"""How a gate's threshold and bound are printed, by the unit that its kind names."""

METRICS = {"acc": "accuracy", "acc_norm": "accuracy, length-normalised", "perplexity": "perplexity"}
VERDICTS: dict[VerdictValue, str] = {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive"}
