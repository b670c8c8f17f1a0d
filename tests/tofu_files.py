"""Files in TOFU's form, with text of our own."""

from __future__ import annotations

import json
from pathlib import Path


def write_tofu(folder: Path, *, forget: int = 6, retain: int = 5, quiz: int = 4) -> Path:
    """A folder with a small variant of TOFU's four files for the split forget01."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "forget01_perturbed.jsonl", [_pair("vault", n) for n in range(forget)])
    write_rows(folder / "retain_perturbed.jsonl", [_pair("train", n) for n in range(retain)])
    write_rows(folder / "real_authors_perturbed.jsonl", [_choice("book", n) for n in range(quiz)])
    write_rows(folder / "world_facts_perturbed.jsonl", [_choice("river", n) for n in range(quiz)])
    return folder


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _pair(kind: str, n: int) -> dict[str, object]:
    return {
        "question": f"Which number has {kind} {n}?",
        "answer": f"The {kind} has number {n * 7 % 10}.",
        "paraphrased_answer": f"Number {n * 7 % 10} is that of the {kind}.",
        "perturbed_answer": [f"Number {(n * 7 + step) % 10} is that of the {kind}." for step in (1, 2, 3)],
        "paraphrased_question": f"What is the number of {kind} {n}?",
    }


def _choice(kind: str, n: int) -> dict[str, object]:
    return {"question": f"Which {kind} is {n}?", "answer": "the red", "perturbed_answer": ["the green", "the blue"]}
