"""Writes `docs/architectures.md`: `PYTHONPATH=tests python docs/architectures.py [ROWS.jsonl]` (half an hour).

With a file of rows, what it holds is not computed again, and what is computed is added to it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import transformers
from architectures import NotTiny, Row, names, walk

_HEAD = """# Architectures

Every causal language model that transformers {version} loads by its auto-mapping, made tiny and random, was taken
through `plan`, `apply` and `export` by three methods: one that steers (`srmu`), its closed form, and one that trains
the whole model (`grad_diff`). By the first it went through `verify` with the standard attacks as well. **exact** means
that the exported folder, loaded by transformers alone, is the edited model up to rounding. Of what is not supported,
the table has the reason in govern's own words. `docs/architectures.py` writes this page.

{exact} of {all} model types are exact by at least one method; {refused} are refused by every method.
{untried} more cannot be made tiny by the sizes that models have in common, so that nothing is known of them here.

| model type | class | srmu | closed form | whole model |
|---|---|---|---|---|
"""


def page(rows: list[Row], untried: list[str]) -> str:
    """The page of these rows."""
    exact = sum("exact" in row.outcomes.values() for row in rows)
    head = _HEAD.format(
        version=transformers.__version__, exact=exact, all=len(rows), refused=len(rows) - exact, untried=len(untried)
    )
    lines = [
        f"| `{row.name}` | {row.model} | " + " | ".join(_said(said) for said in row.outcomes.values()) + " |\n"
        for row in rows
    ]
    return head + "".join(lines) + f"\nNot tried: {', '.join(f'`{name}`' for name in untried)}.\n"


def _said(said: str) -> str:
    stage, colon, reason = said.partition(": ")
    first = reason.splitlines()[0].replace("|", "\\|") if reason else ""
    return f"{stage}{colon}{first}"


def main() -> None:
    """Compute what is not there yet, and write the page."""
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    rows: dict[str, Row] = {}
    untried: list[str] = []
    if kept is not None and kept.exists():
        read = [json.loads(line) for line in kept.read_text().splitlines()]
        rows = {row["name"]: Row(**row) for row in read if row["outcomes"]}
        untried = [row["name"] for row in read if not row["outcomes"]]
    for name in names():
        if name in rows or name in untried:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = walk(name, Path(folder))
                rows[name] = row
            except NotTiny:
                row = Row(name)
                untried.append(name)
        if kept is not None:
            with kept.open("a") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    text = page([rows[name] for name in sorted(rows)], sorted(untried))
    Path(__file__).with_name("architectures.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
