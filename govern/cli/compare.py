"""`govern compare`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import output, print_json, printable, shown_progress
from govern.cli.options import DEFAULT_WORKSPACE, DeviceOption, JsonOption, MirrorOption, NoInputOption, WorkspaceOption
from govern.cli.signer import THROWAWAY, KeyOption, signing_key
from govern.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from govern.records import GateResult
    from govern.reporting.comparison import Comparison
    from govern.signing import SigningKey


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id, or `latest`; with --methods, a policy file.")],
    second: Annotated[str | None, typer.Argument(metavar="B", help="Another run's id, or `latest`.")] = None,
    *,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Compare methods on a policy instead: `all`, or names like npo,ssd.")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option("--points", min=1, help="With --methods: how many settings each method is tuned over; else 2."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=1, help="With --methods: seconds that one removal may take; else 45."),
    ] = None,
    key: KeyOption = None,
    mirror: MirrorOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Show two runs side by side, or with --methods what each method makes of one policy.

    Methods have the same model, text and budget, and are judged on the questions that choose settings; the report of it
    is signed. What was begun and stopped goes on with `govern sweep --resume`.
    """
    if methods is not None:
        if second is not None:
            raise UsageError("--methods compares on one policy", where=second, hint="Leave the second argument out.")
        compare_methods(
            Path(first),
            methods,
            2 if points is None else points,
            45.0 if budget is None else budget,
            mirror,
            device,
            workspace,
            signing_key(key, workspace=workspace, no_input=no_input),
            as_json=as_json,
        )
        return
    if second is None:
        raise UsageError("there is no second run to compare with", hint="govern compare A B, or --methods all.")
    given = {"--points": points, "--budget": budget, "--key": key, "--mirror": mirror, "--device": device}
    if idle := [name for name, value in given.items() if value is not None]:
        raise UsageError("two runs are compared by what is stored of them", where=idle[0], hint="It is for --methods.")
    from govern.workflow.publication.compare import compare as compare_runs

    found = compare_runs(first, second, workspace=workspace)
    if as_json:
        print_json(found.to_json())
    else:
        show_comparison(found)


def compare_methods(
    policy: Path,
    methods: str,
    points: int,
    budget: float,
    mirror: Path | None,
    device: str | None,
    workspace: Path,
    key: SigningKey | None,
    *,
    as_json: bool,
) -> None:
    """Run a comparison of methods and print it."""
    from rich.text import Text

    from govern.cli.sweep import before, methods_table
    from govern.workflow.sweeps.methods import MethodsCompared, methods_named
    from govern.workflow.sweeps.sweep import sweep

    if not math.isfinite(budget):
        raise UsageError(f"a budget of {budget} seconds ends nowhere", where="--budget", hint="Give seconds.")
    compared = MethodsCompared(methods_named(methods), points, budget, every=methods == "all")
    with shown_progress() as progress:
        swept = sweep(
            policy, workspace=workspace, compared=compared, mirror=mirror, device=device, key=key, progress=progress
        )
    record = swept.record
    if as_json:
        print_json({**record.to_json(), "folder": str(swept.folder.root), "report": str(swept.report)})
        return
    console = output()
    console.print(Text(before(record)))
    console.print(methods_table(record))
    console.print(Text("● a method's best, with the intervals of both accuracies", style="dim"))
    console.print(Text(printable(f"report      {swept.report}")), soft_wrap=True)
    if key is None:
        console.print(Text(THROWAWAY))
    console.print(Text(f"comparison  {record.sweep}  {len(record.points)} points in {record.seconds:.0f} s"))


def show_comparison(found: Comparison) -> None:
    """Print a comparison."""
    from rich.table import Table
    from rich.text import Text

    from govern.cli.verify import STYLE

    console = output()

    def table(*columns: str) -> Table:
        made = Table(*columns, box=None, pad_edge=False)
        for column in made.columns:
            column.overflow = "fold"
        return made

    runs = table("", "A", "B")
    for name in ("run", "policy", "model", "method", "issued"):
        runs.add_row(name, *(Text(printable(getattr(run, name))) for run in (found.first, found.second)))
    runs.add_row("verdict", *(Text(run.verdict, style=STYLE[run.verdict]) for run in (found.first, found.second)))
    runs.add_row("attempt", str(found.first.attempt), str(found.second.attempt))
    console.print(runs)
    for note in found.notes:
        console.print(Text(f"note: {note}", style="yellow"))

    gates = table("gate", "before", "after A", "after B", "A", "B")
    for column in gates.columns[1:4]:
        column.justify = "right"
    for gate in found.gates:
        either = gate.first or gate.second
        assert either is not None  # noqa: S101 - a gate is listed because one of them has it
        gates.add_row(
            Text(printable("\n".join((gate.task, *gate.rules)))),
            _before(gate.first, gate.second),
            *(_after(side) for side in (gate.first, gate.second)),
            *(_verdict(side) for side in (gate.first, gate.second)),
        )
    console.print()
    console.print(gates)
    console.print()
    if not found.differences:
        console.print(Text("The plans are the same."))
        return
    settings = table("differs", "A", "B")
    settings.columns[0].ratio, settings.columns[1].ratio, settings.columns[2].ratio = 4, 3, 3
    settings.expand = True
    for difference in found.differences:
        settings.add_row(
            *(Text(printable(_short(text))) for text in (difference.name, difference.first, difference.second))
        )
    console.print(settings)


def _before(first: GateResult | None, second: GateResult | None) -> str:
    from govern.cli.verify import figure

    return " / ".join(dict.fromkeys(figure(gate, gate.before) for gate in (first, second) if gate))


def _after(gate: GateResult | None) -> str:
    from govern.cli.verify import bound, figure

    return f"{figure(gate, gate.after)}\n{bound(gate)}" if gate else "no gate"


def _verdict(gate: GateResult | None) -> Text:
    from rich.text import Text

    from govern.cli.verify import STYLE

    return Text(gate.verdict, style=STYLE[gate.verdict]) if gate else Text("")


def _short(text: str) -> str:
    """A digest's beginning tells two apart; the whole of it is in the JSON."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text)
