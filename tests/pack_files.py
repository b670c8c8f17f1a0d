"""Small files in the form of published benchmarks, with text of our own."""

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


def write_muse(folder: Path) -> Path:
    """A corpus in MUSE's form."""
    write_list(
        folder / "verbmem/forget.json", [{"prompt": f"The mayor {n}", "gt": "opened the new bridge"} for n in "12"]
    )
    for side in ("forget", "retain"):
        asked = [{"question": f"Who {side} {n}?", "answer": "the mayor"} for n in "ab"]
        write_list(folder / f"knowmem/{side}_qa.json", asked)
        write_list(folder / f"knowmem/{side}_qa_icl.json", [{"question": "Who is it?", "answer": "nobody"}])
    write_list(folder / "privleak/forget.json", ["known one", "known two"])
    write_list(folder / "privleak/holdout.json", ["fresh one", "fresh two"])
    return folder


def write_rwku(folder: Path) -> Path:
    """A person's probes in RWKU's form."""
    for side, level in (("forget", 1), ("forget", 2), ("neighbor", 1), ("neighbor", 2)):
        write_list(folder / f"{side}_level{level}.json", [{"query": f"{side} {level} is", "answer": "blue paint"}])
    kinds = ("prefix injection", "affirmative suffix", "incontext learning")
    write_list(folder / "forget_level3.json", [{"query": kind, "answer": "blue", "type": kind} for kind in kinds])
    return folder


def write_whp(folder: Path) -> Path:
    """Four prompts with what only a reader of the text would name."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"He went to {n}", "references": ["the Old Mill", "Wren"]} for n in range(4)]
    write_rows(folder / "prompts.jsonl", rows)
    return folder


def write_list(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


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
