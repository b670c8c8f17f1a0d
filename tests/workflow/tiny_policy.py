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


def laid_in(folder: Path) -> TinyPolicy:
    return TinyPolicy(folder / "policies" / "tiny.yaml", folder / "audits")


def lay(tmp_path: Path, tiny_llama: Path) -> TinyPolicy:
    folder = tmp_path / "policies"
    folder.mkdir()
    write_jsonl(folder / "forget.jsonl", [{"text": text} for text in FORGET])
    write_jsonl(folder / "retain.jsonl", [{"text": text} for text in RETAIN])
    write_jsonl(folder / "secret.jsonl", questions("secret", 24))
    write_jsonl(folder / "colour.jsonl", questions("colour", 24))
    (folder / "tiny.yaml").write_text(f"""\
schema: govern/v1
name: tiny
title: Forget the vault numbers
rationale: A random model, so that every path of the workflow runs in a second.
owner: {{name: Ada Example, role: governance engineer}}
hazard: {{domain: locks, category: test}}
model: {{source: "file:{tiny_llama}"}}
forget:
  - {{source: "file:forget.jsonl", max_tokens: 24}}
retain:
  - {{source: "file:retain.jsonl", max_tokens: 24}}
  - {{source: "self:", documents: 8, max_tokens: 16, seed: 1}}
removal:
  method: srmu
  solver: gradient
  layer: 2
  train: {{modules: [mlp.down_proj], layers: [1, 2]}}
  dtype: float32
  coefficient: 5
  retain_weight: 10
  steps: 12
  batch_size: 2
  learning_rate: 1e-2
  seed: 0
tasks:
  - {{name: secret, file: secret.jsonl, kind: cloze, cluster: fact}}
  - {{name: colour, file: colour.jsonl, kind: cloze, cluster: fact}}
verification:
  forget: [{{task: secret, ceiling: 0.9}}]
  utility:
    - {{task: colour, max_drop: 0.5}}
    - {{perplexity: "self:", max_increase: 5.0, documents: 8, max_tokens: 16, seed: 2}}
""")
    return laid_in(tmp_path)
