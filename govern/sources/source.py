"""How a policy names where a text or a model comes from. Nothing heavy is imported, so that policies parse quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from govern.errors import UsageError
from govern.sources.manifest import BUILTIN_MODELS

Scheme = Literal["builtin", "file", "hf", "self"]

_EXPECTED = (
    f"Expected builtin:NAME (a model: {', '.join(BUILTIN_MODELS)}), file:PATH, hf:OWNER/NAME, "
    "or self: (text sampled from the model itself)."
)


@dataclass(frozen=True)
class Source:
    """A scheme and the name within it; `self:` has no name."""

    scheme: Scheme
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


def parse_source(text: str) -> Source:
    """Read `scheme:name`. Raises UsageError naming what was expected."""
    scheme, colon, name = text.partition(":")
    if not colon or scheme not in get_args(Scheme):
        raise UsageError(f"{text!r} names no source", hint=_EXPECTED)
    if scheme == "self" and name:
        raise UsageError(f"{text!r}: self: takes no name", hint=_EXPECTED)
    if scheme != "self" and not name.strip():
        raise UsageError(f"{text!r} lacks a name after the colon", hint=_EXPECTED)
    if scheme == "builtin" and name not in BUILTIN_MODELS:
        raise UsageError(f"there is no built-in model {name!r}", hint=_EXPECTED)
    return Source(scheme, name)  # type: ignore[arg-type]  # checked against get_args above
