"""`govern benchmark`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import columns, output, print_json, say, shown_progress
from govern.cli.options import DEFAULT_WORKSPACE, DeviceOption, JsonOption, NoInputOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.table import Table

    from govern.records import Benchmark, Figure
    from govern.workflow.verification.benchmark import Benchmarked


def benchmark(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="tofu, muse, rwku or whp.")],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs of one base model, side by side. The latest applied run by default."
        ),
    ] = None,
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Your copy of the benchmark's files.")],
    split: Annotated[
        str | None, typer.Option("--split", help="What had to be forgotten: forget01, forget05, …")
    ] = None,
    retained: Annotated[
        str | None,
        typer.Option(
            "--retained", metavar="MODEL", help="A model that never saw the forget text: file:DIR or hf:NAME."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Ask so many questions of each set, by hash.")
    ] = None,
    part: Annotated[
        bool, typer.Option("--part", help="The folder holds a part or a variant: do not count its rows.")
    ] = False,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Put a published benchmark's questions to the base and the edited model, and keep the figures with the run."""

    from govern.evaluation.packs import Asked
    from govern.workflow.verification.benchmark import benchmark as run_benchmark

    with shown_progress() as progress:
        found = run_benchmark(
            pack,
            runs or [None],
            data=data,
            asked=Asked(split=split, limit=limit, part=part),
            retained=retained,
            workspace=workspace,
            device=device,
            progress=progress,
        )
    if as_json:
        print_json({"runs": [{**each.benchmark.to_json(), "file": str(each.path)} for each in found]})
        return
    output().print(table(found))
    first = found[0].benchmark
    sizes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in first.questions.items())
    say(f"questions: {sizes}; intervals at {first.confidence:.0%}, by resampling them", style="dim", wrap=True)
    for each in found:
        say(str(each.path))


def table(found: Sequence[Benchmarked]) -> Table:
    """A row a figure, a column a model: the base, what it is compared with, and every run's edited model."""
    models = {**_shared(found[0].benchmark), **{each.run.id: _figures(each.benchmark, "edited") for each in found}}
    if len(found) == 1:
        models["edited"] = models.pop(found[0].run.id)
    shown = columns("", *models)
    for name in next(iter(models.values())):
        shown.add_row(name.replace("_", " ").replace(".", ", "), *(_cell(figures[name]) for figures in models.values()))
    return shown


def _shared(record: Benchmark) -> dict[str, dict[str, Figure]]:
    roles = [model.role for model in record.models if model.role != "edited"]
    return {role: _figures(record, role) for role in roles}


def _figures(record: Benchmark, role: str) -> dict[str, Figure]:
    return {figure.name: figure for model in record.models if model.role == role for figure in model.figures}


def _cell(figure: Figure) -> str:
    if figure.interval is None:
        return f"{figure.value:.3g}"
    return f"{figure.value:.3f} {figure.interval.low:.2f}–{figure.interval.high:.2f}"
