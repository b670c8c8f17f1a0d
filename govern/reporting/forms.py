"""How single values are printed, the same on every page and in every export."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from govern.records.verdict import VerdictValue

Form = Callable[[Any], str]

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

# Records hold finite numbers only; evaluation writes 1e308 where the data give no bound at all.
LARGEST_FINITE = 1e300


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
    """How two-sided intervals of a metric are printed."""
    return span(measure(metric))


def span(form: Form, joint: str = "–") -> Form:
    """An interval with its ends printed by `form`: the unit once, at the end."""
    return lambda ends: f"{form(ends['low']).partition(NO_BREAK_SPACE)[0]}{joint}{form(ends['high'])}"


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
