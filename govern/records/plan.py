"""A plan: a policy with everything resolved, so that the same plan means the same removal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field, JsonValue

from govern.records.base import Record
from govern.records.cost import Cost
from govern.records.fingerprints import RequestIdentity
from govern.records.origin import Origin
from govern.records.sweep import SweepChoice


class Person(Record):
    """Somebody who answers for something."""

    name: str
    role: str


class ModelIdentity(Record):
    """A model, by content. `digest` covers all `files` that loading reads: config, tokenizer, weights, its own code.

    `files` is None, and left out of the JSON, where the digest is by the first rule: config, tokenizer, index and
    safetensors files alone (docs/decisions/0010).
    """

    source: str
    revision: str | None
    digest: str
    architecture: str
    layers: int
    hidden_size: int
    parameters: int
    licence: str | None
    remote_code: bool
    files: tuple[str, ...] | None = Field(default=None, exclude_if=lambda files: files is None)


class CorpusIdentity(Record):
    """One text source of one topic. `digest` covers its token ids, cut at `max_tokens`."""

    topic: str
    role: Literal["forget", "retain", "perplexity"]
    source: str
    subset: str | None
    split: str | None
    column: str | None
    revision: str | None
    digest: str
    documents: int
    tokens: int
    max_tokens: int
    licence: str | None


class Overlap(Record):
    """Entanglement of one topic: the share of distinct lower-cased forget n-grams that occur in its retain text."""

    topic: str
    unigram: float
    bigram: float
    warn: bool


class TaskIdentity(Record):
    """One question set, by content. `selection` questions choose settings; `certification` questions decide gates."""

    name: str
    kind: Literal["letters", "cloze", "official"]
    source: str
    digest: str
    selection: int
    certification: int
    clusters: int | None


class Deployment(Record):
    """What the policy's people say about the edited model in use; None where they say nothing."""

    intended_use: str | None = None
    residual_risk: str | None = None
    monitoring: str | None = None
    rollback: str | None = None


class Environment(Record):
    """Where a run happened. `commit` and `dirty` describe the code when it runs from a checkout.

    `workers`, the processes that computed it together, is left out of the JSON where there was one.
    """

    govern: str
    python: str
    platform: str
    processor: str
    device: str
    threads: int
    workers: int = Field(default=1, exclude_if=lambda workers: workers == 1)
    packages: dict[str, str]
    commit: str | None
    dirty: bool | None


class Plan(Record):
    """Everything a removal depends on. Pure: making one changes nothing; applying a stale one is refused.

    `policy_digest` is over the policy's RFC 8785 form, `policy_sha256` over the file's exact bytes. `sweep` says which
    sweep chose the `parameters`; it is left out of the JSON where the policy states them itself. `edited` is a model
    that was edited elsewhere, as it was handed in; it is left out where the removal is made here. `origin` is the
    distribution that the method comes from; it is left out where the method is govern's own.
    `inputs_digest` leaves out the environment, so that two machines can agree on a plan.
    """

    format_version: Literal[1] = 1
    policy_name: str
    policy_digest: str
    policy_sha256: str
    title: str
    rationale: str
    owner: Person
    hazard_domain: str
    hazard_category: str
    reviews_required: int
    review_roles: tuple[str, ...]
    model: ModelIdentity
    corpora: tuple[CorpusIdentity, ...]
    overlap: tuple[Overlap, ...]
    tasks: tuple[TaskIdentity, ...]
    method: str
    parameters: dict[str, JsonValue]
    sweep: SweepChoice | None = Field(default=None, exclude_if=lambda sweep: sweep is None)
    seed: int
    warnings: tuple[str, ...]
    environment: Environment
    # Left out where there is none, so that plans of before they existed keep their bytes.
    valid_days: int | None = Field(default=None, exclude_if=lambda days: days is None)
    request: RequestIdentity | None = Field(default=None, exclude_if=lambda request: request is None)
    edited: ModelIdentity | None = Field(default=None, exclude_if=lambda edited: edited is None)
    deployment: Deployment | None = Field(default=None, exclude_if=lambda deployment: deployment is None)
    cost: Cost | None = Field(default=None, exclude_if=lambda cost: cost is None)
    origin: Origin | None = Field(default=None, exclude_if=lambda origin: origin is None)

    def valid_until(self, verified: str) -> str | None:
        """Until when (`UtcTime`) a verification that finished at `verified` (an event's time) holds; None: no end."""
        if self.valid_days is None:
            return None
        end = datetime.fromisoformat(verified) + timedelta(days=self.valid_days)
        return end.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def inputs_digest(self) -> str:
        """SHA-256 over the plan without its environment: equal where the same inputs would be used."""
        return Plan.model_construct(**{**self.__dict__, "environment": _NOWHERE}).sha256


_NOWHERE = Environment(
    govern="", python="", platform="", processor="", device="", threads=0, packages={}, commit=None, dirty=None
)
