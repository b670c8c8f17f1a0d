"""`govern compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import output, print_json, say, shown_progress
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    DeviceOption,
    JsonOption,
    MirrorOption,
    NoInputOption,
    WorkspaceOption,
    check_policy,
)
from govern.cli.signer import THROWAWAY, KeyOption, signing_key
from govern.errors import UsageError

if TYPE_CHECKING:
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
    from govern.cli.publication.comparison import show_comparison
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
    from govern.cli.sweeps.sweep import before, methods_table
    from govern.workflow.sweeps.methods import MethodsCompared, methods_named

    if not math.isfinite(budget):
        raise UsageError(f"a budget of {budget} seconds ends nowhere", where="--budget", hint="Give seconds.")
    compared = MethodsCompared(methods_named(methods), points, budget, every=methods == "all")
    check_policy(policy, "compare")
    from govern.workflow.sweeps.sweep import sweep

    with shown_progress() as progress:
        swept = sweep(
            policy, workspace=workspace, compared=compared, mirror=mirror, device=device, key=key, progress=progress
        )
    record = swept.record
    if as_json:
        print_json({**record.to_json(), "folder": str(swept.folder.root), "report": str(swept.report)})
        return
    say(before(record), wrap=True)
    output().print(methods_table(record))
    say("● a method's best, with the intervals of both accuracies", style="dim", wrap=True)
    say(f"report      {swept.report}")
    if key is None:
        say(THROWAWAY, wrap=True)
    say(f"comparison  {record.sweep}  {len(record.points)} points in {record.seconds:.0f} s")
