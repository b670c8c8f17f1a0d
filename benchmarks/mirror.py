"""Lay published question files out as a mirror: the folders that lm-eval's official tasks load instead of the hub.

    python benchmarks/mirror.py OUT --mmlu ../shared/data/mmlu --wmdp-cyber ../shared/data/wmdp_cyber \
        --wikitext ../shared/data/wikitext2

OUT/cais/mmlu, OUT/cais/wmdp and OUT/EleutherAI/wikitext_document_level then stand for the hub's data sets of those
names, with the same configurations and splits: MMLU's subjects with `dev`, `validation` and `test`, WMDP's with `test`.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path

_LETTERS = "ABCD"


def lay_mirror(
    out: Path, *, mmlu: Path | None = None, wmdp_cyber: Path | None = None, wikitext: Path | None = None
) -> None:
    """Write the mirror.

    `mmlu` holds dev/, val/ and test/ CSV files, `wmdp_cyber` holds cyber_questions.json, `wikitext` wiki.test.raw.
    """
    if mmlu is not None:
        subjects = sorted(path.name.removesuffix("_test.csv") for path in (mmlu / "test").glob("*_test.csv"))
        splits = {"dev": "dev", "validation": "val", "test": "test"}
        for subject in subjects:
            for split, folder in splits.items():
                _write_rows(
                    out / "cais/mmlu" / subject / f"{split}.jsonl",
                    _mmlu_rows(mmlu / folder / f"{subject}_{folder}.csv", subject),
                )
        _write_card(out / "cais/mmlu", {subject: tuple(splits) for subject in subjects})
    if wmdp_cyber is not None:
        rows = json.loads((wmdp_cyber / "cyber_questions.json").read_text(encoding="utf-8"))
        _write_rows(out / "cais/wmdp/wmdp-cyber/test.jsonl", rows)
        _write_card(out / "cais/wmdp", {"wmdp-cyber": ("test",)})
    if wikitext is not None:
        folder, config = out / "EleutherAI/wikitext_document_level", "wikitext-2-raw-v1"
        pages = _pages((wikitext / "wiki.test.raw").read_text(encoding="utf-8"))
        # lm-eval's task names all three splits and reads the test articles
        for split in ("train", "validation", "test"):
            _write_rows(folder / config / f"{split}.jsonl", ({"page": page} for page in pages))
        _write_card(folder, {config: ("train", "validation", "test")})


def _pages(text: str) -> list[str]:
    """The articles of WikiText's raw file, each from its title, ` = Title = `, to the next one."""
    pages: list[list[str]] = [[]]
    for line in text.split("\n"):
        heading = line.strip()
        if heading.startswith("= ") and heading.endswith(" =") and not heading.startswith("= ="):
            pages.append([])
        pages[-1].append(line)
    return [page for page in map("\n".join, pages) if page.strip()]


def _mmlu_rows(path: Path, subject: str) -> Iterable[dict[str, object]]:
    with path.open(newline="", encoding="utf-8") as stream:
        for question, *choices, letter in csv.reader(stream):
            yield {"question": question, "subject": subject, "choices": choices, "answer": _LETTERS.index(letter)}


def _write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_card(folder: Path, configurations: dict[str, tuple[str, ...]]) -> None:
    """The card's YAML head tells `datasets` which files make up which configuration and split."""
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{name}/{split}.jsonl"} for split in splits]}
        for name, splits in configurations.items()
    ]
    # JSON is YAML
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mmlu", type=Path)
    parser.add_argument("--wmdp-cyber", type=Path)
    parser.add_argument("--wikitext", type=Path)
    options = parser.parse_args()
    lay_mirror(options.out, mmlu=options.mmlu, wmdp_cyber=options.wmdp_cyber, wikitext=options.wikitext)


if __name__ == "__main__":
    main()
