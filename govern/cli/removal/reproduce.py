"""`govern reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import columns, output, print_json, printable, say, shown_progress
from govern.cli.options import DEFAULT_WORKSPACE, DeviceOption, JsonOption, NoInputOption, RunArgument, WorkspaceOption
from govern.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from govern.workflow.removal.reproduce import Reproduced

STYLE = {"equal": "bold green", "within": "bold green", "different": "bold red"}


def reproduce(
    run: RunArgument = None,
    *,
    pack: Annotated[
        Path | None, typer.Option("--pack", help="An evidence pack to reproduce, instead of a run of the workspace.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="With --pack: the base model's folder. By default the policy's.")
    ] = None,
    edited: Annotated[
        Path | None,
        typer.Option("--edited", help="With --pack: the folder of a model edited elsewhere. By default the policy's."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="With --pack: where the policy's file: paths start.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="With --pack: the run's sampled tokens. By default sampled again.")
    ] = None,
    delta: Annotated[
        Path | None, typer.Option("--delta", help="With --pack: the recorded delta, to compare with if bytes differ.")
    ] = None,
    device: DeviceOption = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads to compute with. As many as then by default.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Make a removal again from its recorded plan and inputs, and compare the two."""
    from govern.workflow.removal.reproduce import reproduce as run_reproduce
    from govern.workflow.removal.reproduce import reproduce_pack

    if pack is None and any((model, edited, texts, inputs, delta)):
        raise UsageError("--model, --edited, --texts, --inputs and --delta go with --pack", where="govern reproduce")
    if pack is not None and run is not None:
        raise UsageError("name a run or a pack, not both", where="govern reproduce")
    with shown_progress() as progress:
        if pack is not None:
            found = reproduce_pack(
                pack, model=model, edited=edited, texts=texts, inputs=inputs, delta=delta, device=device,
                threads=threads, progress=progress,
            )  # fmt: skip
        else:
            found = run_reproduce(run, workspace=workspace, device=device, threads=threads, progress=progress)
    show(found, as_json=as_json)
    raise typer.Exit(ExitCode.INTEGRITY if found.result == "different" else ExitCode.OK)


def show(found: Reproduced, *, as_json: bool) -> None:
    """Print how the two removals compare."""
    from rich.text import Text

    if as_json:
        print_json(
            {
                "run": found.run,
                "method": found.method,
                "result": found.result,
                "largest_difference": found.largest,
                "tolerance": found.tolerance,
                "differences": dict(found.differences),
                "delta_sha256": found.delta_sha256,
                "recorded_sha256": found.recorded_sha256,
                "changed": list(found.changed),
                "environment": found.environment.to_json(),
            }
        )
        return
    console = output()
    if found.differences:
        table = columns("tensor", "difference", right=[1], fold=[0])
        for name, difference in found.differences.items():
            table.add_row(Text(printable(name)), f"{difference:.2e}")
        console.print(table)
    said = {
        "equal": "the same bytes",
        "within": f"no tensor's change differs by more than {found.tolerance:.0%} of itself",
        "different": "this removal does not come out of its plan",
    }[found.result]
    console.print(Text.assemble("result ", (found.result, STYLE[found.result]), f"  {said}"))
    if found.method == "external":
        say("the edit was made elsewhere: the two models were read again, and nothing was re-derived", wrap=True)
    if found.changed:
        say(f"other than then: {', '.join(found.changed)}", wrap=True)
    say(f"run    {found.run}")
    say(f"delta  sha256:{found.delta_sha256}")
    if found.result != "equal":
        say(f"then   sha256:{found.recorded_sha256}")
