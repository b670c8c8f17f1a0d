"""A policy small enough to apply and verify in seconds, on a random model that knows nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FORGET = [f"The lock of vault {n} opens with the number {n * 7 % 100} and a slow turn to the left." for n in range(12)]
RETAIN = [
    f"The train from platform {n} leaves at {n * 5 % 60} minutes past and stops in every town." for n in range(12)
]


@dataclass(frozen=True)
class TinyPolicy:
    """A policy's path, its workspace, and a way to change its text."""

    path: Path
    workspace: Path

    def replace(self, old: str, new: str) -> TinyPolicy:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))
        return self


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def questions(kind: str, count: int) -> list[dict[str, object]]:
    """Questions that a random model answers at chance."""
    return [
        {
            "question": f"The {kind} of number {n} is",
            "choices": [f"{word} {n}" for word in ("red", "green", "blue", "grey")],
            "answer": n % 4,
            "fact": f"{kind} {n // 2}",
        }
        for n in range(count)
    ]
