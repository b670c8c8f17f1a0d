"""What a published benchmark says of a removal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from govern.records.base import Record, Sha256
from govern.records.verdict import Interval


class Figure(Record):
    """One figure of a benchmark over `n` questions. `interval` is None where resampling them would mean nothing."""

    name: str
    value: float
    interval: Interval | None
    n: int


class BenchmarkedModel(Record):
    """One model under a benchmark. `replies` hold one number a question for each measure, from which figures follow."""

    role: Literal["base", "edited", "retained"]
    digest: Sha256
    figures: tuple[Figure, ...]
    replies: dict[str, tuple[float, ...]]


class Benchmark(Record):
    """A run's base and edited model under one benchmark, and a model that never saw the forget text where there is one.

    `questions` counts what was asked of each set, `data_digest` covers every question and answer. `limit` is the number
    of questions that each set was cut to, `part` says that the folder did not have to hold the published number.
    """

    format_version: Literal[1] = 1
    run: str
    pack: str
    split: str | None
    limit: Annotated[int, Field(ge=1)] | None
    part: bool
    questions: dict[str, int]
    data_digest: Sha256
    dtype: Literal["bfloat16", "float32"]
    confidence: float
    models: tuple[BenchmarkedModel, ...]
    seconds: float
