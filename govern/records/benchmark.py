"""What a published benchmark says of a removal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from govern.records.base import Record, Sha256
from govern.records.verdict import Interval


class Figure(Record):
    """One figure of a benchmark."""

    name: str
    value: float
    interval: Interval | None
    """None where resampling the questions would mean nothing."""
    n: int
    """How many questions it is over."""


class BenchmarkedModel(Record):
    """One model under a benchmark."""

    role: Literal["base", "edited", "retained"]
    digest: Sha256
    figures: tuple[Figure, ...]
    replies: dict[str, tuple[float, ...]]
    """One number a question for each measure: the figures follow from them."""


class Benchmark(Record):
    """A run's base and edited model under one benchmark, and one that never saw the forget text, if there is one."""

    format_version: Literal[1] = 1
    run: str
    pack: str
    split: str | None
    limit: Annotated[int, Field(ge=1)] | None
    """How many questions each set was cut to, None where it was asked whole."""
    part: bool
    """Whether the folder did not have to hold the published number of questions."""
    questions: dict[str, int]
    """How many were asked of each set."""
    data_digest: Sha256
    """Covers every question and answer."""
    dtype: Literal["bfloat16", "float32"]
    confidence: float
    models: tuple[BenchmarkedModel, ...]
    seconds: float
