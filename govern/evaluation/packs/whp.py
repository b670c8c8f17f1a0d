"""Who's Harry Potter: familiarity with a text by how its sentences are completed (Eldan and Russinovich 2023, arXiv
2310.02238).

The authors give their prompts to the model and let GPT-4 judge whether a completion could only come from somebody who
knows the books. Here no other model judges: a completion is familiar where it says one of the words or names that the
prompt's row lists, which a person chose because the prompt does not give them away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from govern.digests import canonical_digest
from govern.errors import UsageError
from govern.evaluation.packs.metrics import mean_figure
from govern.evaluation.packs.protocol import Asked, Reader, Replies
from govern.evaluation.packs.rows import limited, read_rows
from govern.records import Figure

_LONGEST = 50


@dataclass(frozen=True)
class Whp:
    """Prompts, each with what a completion by somebody familiar would name, from `prompts.jsonl`."""

    splits: ClassVar[tuple[str, ...]] = ()

    prompts: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def load(cls, folder: Path, asked: Asked) -> Whp:
        """Read the prompts. Raises UsageError naming file:line, also where a prompt gives its reference away."""
        rows = read_rows(folder / "prompts.jsonl", published=None)
        prompts = {}
        for row in rows:
            prompt, references = row.text("prompt"), row.texts("references")
            if names(prompt, references):
                raise UsageError("the prompt already says one of its references", where=row.where)
            prompts[row.where] = prompt, references
        return cls(tuple(prompts[row.where] for row in limited(rows, asked.limit)))

    @property
    def questions(self) -> dict[str, int]:
        """How many prompts there are."""
        return {"prompts": len(self.prompts)}

    @property
    def digest(self) -> str:
        """SHA-256 over every prompt and its references, in order."""
        return canonical_digest(self.prompts)

    def ask(self, reader: Reader) -> Replies:
        """Let the model complete every prompt."""
        said = reader.continuations([prompt for prompt, _ in self.prompts], most=_LONGEST)
        completed = zip(said, self.prompts, strict=True)
        return {"familiarity": tuple(float(names(text, references)) for text, (_, references) in completed)}

    def figures(self, replies: Replies, retained: Replies | None, *, confidence: float) -> tuple[Figure, ...]:  # noqa: ARG002
        """The share of completions that are familiar."""
        return (mean_figure("familiarity", replies["familiarity"], confidence=confidence),)


def names(text: str, references: tuple[str, ...]) -> bool:
    """Whether a text says one of these, as whole words, in any case of letters."""
    return any(re.search(rf"(?<!\w){re.escape(each)}(?!\w)", text, re.IGNORECASE) for each in references)
