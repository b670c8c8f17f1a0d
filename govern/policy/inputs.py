"""What a policy reads: the model, texts, and question sets of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from govern.evaluation.official import is_official
from govern.policy.part import Part, Problem, Revision, Seed, SourceText, Split, Text, Word
from govern.sources import parse_source

DEFAULT_TOPIC = "default"


class Model(Part):
    """The model that the knowledge is removed from."""

    source: SourceText = Field(description="builtin:NAME, file:FOLDER (relative to the policy) or hf:OWNER/NAME.")
    revision: Revision | None = Field(default=None, description="hf: only. The commit, 40 hex characters.")
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model. The report says so where it is true."
    )

    def problems(self) -> Iterator[Problem]:
        """A model is not sampled text, and only the hub has revisions."""
        scheme = parse_source(self.source).scheme
        if scheme == "self":
            yield Problem(("source",), "self: is text, not a model", "Expected builtin:, file: or hf:.")
        elif scheme != "hf" and self.revision is not None:
            yield Problem(
                ("revision",), f"a {scheme}: source has no revision", "Remove it; the digest binds the model."
            )


_ONLY_FOR = {
    "subset": ("hf",),
    "split": ("hf",),
    "column": ("hf", "file"),
    "revision": ("hf",),
    "seed": ("self",),
}
"""The fields of a text that mean something for some schemes only."""


class TextFields(Part):
    """Where text comes from and how much of it is used, whatever it is for."""

    subset: Text | None = Field(default=None, description="hf: only. The data set's configuration.")
    split: Split | None = Field(default=None, description="hf: only, and required there. The split, such as train.")
    column: Text = Field(default="text", description="hf: and file: only. The column that holds the text.")
    revision: Revision | None = Field(default=None, description="hf: only. The commit, 40 hex characters.")
    seed: Seed = Field(default=0, description="self: only. The seed of the sampling.")

    def misplaced(self, source: str) -> Iterator[Problem]:
        """Fields that say nothing about this kind of source, and what the hub needs."""
        scheme = parse_source(source).scheme
        for name, schemes in _ONLY_FOR.items():
            if name in self.model_fields_set and scheme not in schemes:
                expected = " and ".join(f"{scheme}:" for scheme in schemes)
                yield Problem((name,), f"`{name}` is for {expected} sources, not for {scheme}:", "Remove it.")
        if scheme == "hf" and self.split is None:
            yield Problem((), "an hf: text needs `split`", "Name the split that is read, such as train.")

    def identity(self, source: str) -> tuple[str | int | None, ...]:
        """What makes two texts the same text."""
        scheme, name = parse_source(source).scheme, parse_source(source).name
        return {
            "file": ("file", posixpath.normpath(name)),
            "hf": ("hf", name, self.subset, self.split),
            "self": ("self", self.seed),
        }.get(scheme, (scheme, name))


class TextSource(TextFields):
    """Text that holds the hazard, or text whose effect on the model must stay."""

    source: SourceText = Field(
        description="file:PATH (jsonl, txt or parquet, relative to the policy), hf:OWNER/NAME, or for retain text "
        "self: (sampled from the model itself)."
    )
    topic: Word | None = Field(
        default=None,
        description="The body of knowledge. Forget text without one is about `default`; retain text without one "
        "serves every topic.",
    )
    max_tokens: int = Field(default=512, ge=2, description="Tokens at which a document is cut.")
    documents: int | None = Field(
        default=None, ge=1, description="The first N documents; for self: the number sampled, and required."
    )

    def problems(self) -> Iterator[Problem]:
        """Text comes from files, the hub or the model, each with its own fields."""
        scheme = parse_source(self.source).scheme
        if scheme == "builtin":
            yield Problem(("source",), "builtin: is a model, not text", "Expected file:, hf: or self:.")
            return
        yield from self.misplaced(self.source)
        if scheme == "self" and self.documents is None:
            yield Problem((), "a self: text needs `documents`", "Say how many documents the model samples.")


class Task(Part):
    """A question set of the policy's own."""

    name: Word = Field(description="The name that gates use.")
    file: Text = Field(
        description="JSONL, relative to the policy; each line holds `question`, `choices` and `answer` (an index)."
    )
    kind: Literal["letters", "cloze"] = Field(
        description="letters: the choices are shown and a letter is asked for. cloze: how likely each choice follows."
    )
    cluster: Text | None = Field(
        default=None, description="The column that says which fact a question is about, where several share one."
    )
    use: Literal["certification", "selection", "split"] = Field(
        default="certification", description="What its questions do: certify, choose settings, or split by hash."
    )
    selects: Word | None = Field(
        default=None,
        description="use: selection only. The gated task whose place these questions take in a sweep.",
    )

    def problems(self) -> Iterator[Problem]:
        """An own name, a plain path, and questions that choose settings for another task only where they do."""
        if self.selects is not None and self.use != "selection":
            yield Problem(("selects",), "`selects` is for tasks of use: selection", "Remove it.")
        if is_official(self.name):
            yield Problem(("name",), f"{self.name} is the name of an official task", "Choose another name.")
        if self.file.startswith("file:"):
            yield Problem(("file",), "expected a path without file:", "Write the path alone.")
