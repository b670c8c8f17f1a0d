"""`govern sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from govern.cli.console import columns, output, print_json, printable, say, shown_progress
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    DeviceOption,
    JsonOption,
    MirrorOption,
    NoInputOption,
    SaltOption,
    WorkspaceOption,
    check_policy,
)
from govern.cli.signer import THROWAWAY, KeyOption, signing_key
from govern.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from govern.records import Score, Sweep, SweepPoint

STYLE = {"bound": "green", "estimate": "yellow", "none": "dim"}
STANDING = {"bound": "met", "estimate": "likely met", "none": "missed"}
SHORT = {"coefficient": "c", "scale": "s", "retain_weight": "α", "importance": "map", "learning_rate": "lr"}


def sweep(
    policy: Annotated[Path | None, typer.Argument(help="A policy file. With --resume, not needed.")] = None,
    *,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="Take SRMU apart instead: the paper's Table 4 and Figure 2, on this model."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish the latest unfinished sweep.")] = False,
    executor: Annotated[
        Literal["serial", "ray"],
        typer.Option("--executor", help="ray scores points on the cluster of RAY_ADDRESS, or on all cores here."),
    ] = "serial",
    mirror: MirrorOption = None,
    salt: SaltOption = None,
    key: KeyOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Try every setting that a policy leaves open, on the questions that choose, and choose by a stated rule.

    Every try stays in the audit log. `govern apply` then takes what was chosen. Nothing is signed but the report of a
    comparison of methods, which `--resume` may finish.
    """
    check_policy(policy, "sweep", resume=resume)
    from govern.workflow.sweeps.cluster import on_ray
    from govern.workflow.sweeps.sweep import resumes_comparison
    from govern.workflow.sweeps.sweep import sweep as run_sweep
    from govern.workflow.sweeps.trials import serial

    signs = resume and resumes_comparison(policy, workspace=workspace)
    if key is not None and not signs:
        raise UsageError(
            "nothing is signed but the report of a comparison of methods",
            where="--key",
            hint="Leave it out, or compare: govern compare POLICY --methods all --key KEY",
        )
    signer = signing_key(key, workspace=workspace, no_input=no_input) if signs else None
    with shown_progress() as progress:
        swept = run_sweep(
            policy,
            workspace=workspace,
            ablation=ablation,
            resume=resume,
            device=device,
            mirror=mirror,
            salt=salt,
            key=signer,
            runner=on_ray if executor == "ray" else serial,
            progress=progress,
        )
    record = swept.record
    if as_json:
        issued = {"report": str(swept.report)} if swept.report else {}
        print_json({**record.to_json(), "folder": str(swept.folder.root), "undecided": swept.undecided, **issued})
    else:
        say(before(record), wrap=True)
        if record.kind != "grid":
            for table in [methods_table(record)] if record.kind == "methods" else ablation_tables(record):
                output().print("", table, sep="\n")
        else:
            output().print(points_table(record))
            say("● chosen  ○ no other point beats it in both (Pareto front)", style="dim", wrap=True)
            say(record.reason, wrap=True)
        if swept.report:
            say(f"report {swept.report}")
            if signer is None:
                say(THROWAWAY, wrap=True)
        say(f"sweep  {record.sweep}  {len(record.points)} points in {record.seconds:.0f} s")
        if record.chosen is not None:
            say("next   govern apply POLICY")
    if record.kind == "grid" and record.chosen is None:
        raise typer.Exit(ExitCode.INCONCLUSIVE if swept.undecided else ExitCode.GATE_FAILED)


def before(record: Sweep) -> str:
    """The base model, in one line."""
    forget, utility = record.forget_before, record.utility_before
    return (
        f"before  to forget {percent(forget)} of {forget.n} questions (guessing {record.chance:.0%}), "
        f"to keep {percent(utility)} of {utility.n}"
    )


def points_table(record: Sweep) -> Table:
    """Every point of a grid. ● chosen, ○ on the Pareto front."""
    from rich.text import Text

    names = [SHORT.get(name, name) for name in record.swept]
    attacked = ["attacked"] if record.attack else []
    titles = ("", *names, "to forget", "to keep", *attacked, "‖ΔW‖", "s", "thresholds")
    table = columns(*titles, right=range(1 + len(names), len(titles) - 1))
    for point in record.points:
        mark = "●" if point.number == record.chosen else "○" if point.number in record.front else ""
        table.add_row(
            mark,
            *(setting(point, name) for name in record.swept),
            percent(point.forget),
            percent(point.utility),
            *([percent(point.attacked)] if record.attack else []),
            figure(point.change_norm),
            f"{point.edit_seconds + point.score_seconds:.1f}",
            Text(printable(point.error or STANDING[point.standing]), overflow="ellipsis", no_wrap=True),
            style="bold" if point.number == record.chosen else STYLE[point.standing],
        )
    return table


def ablation_tables(record: Sweep) -> list[Table]:
    """Table 4's shape at equal c and at equal ‖T‖, and Figure 2's curves."""
    tables = []
    for group in dict.fromkeys(point.group for point in record.points):
        table = columns("variant", "c", "‖T‖", "to keep", "to forget", right=range(1, 5))
        table.title, table.title_justify = group, "left"
        for point in record.points:
            if point.group == group:
                table.add_row(
                    point.label,
                    setting(point, "coefficient"),
                    figure(point.target_norm),
                    percent(point.utility),
                    percent(point.forget) if not point.error else "broke off",
                )
        tables.append(table)
    return tables


def methods_table(record: Sweep) -> Table:
    """Every point of every method. ● is its method's best on these questions, with the intervals of both accuracies."""
    from govern.gates.choice import best_of

    table = columns("", "method", "setting", "to forget", "to keep", "s", "GiB", "thresholds", right=range(3, 7))
    table.columns[1].no_wrap = True
    for point in record.points:
        best = best_of(record.points, point.group)
        chosen = best is not None and best.number == point.number
        table.add_row(
            "●" if chosen else "",
            point.group,
            printable(short_label(point.label)),
            with_interval(point.forget),
            with_interval(point.utility),
            f"{point.edit_seconds:.0f}",
            gibibytes(point.edit_peak_bytes),
            printable(point.error or STANDING[point.standing]),
            style="bold" if chosen else STYLE[point.standing],
        )
    return table


def with_interval(score: Score | None) -> str:
    """An accuracy and its interval in per cent."""
    if score is None:
        return ""
    return f"{score.value:.0%} {100 * score.interval.low:.0f}–{100 * score.interval.high:.0f}"


def short_label(label: str) -> str:
    """A setting such as "learning_rate 2e-05" with its name as short as in the other tables."""
    name, _, value = label.partition(" ")
    return f"{SHORT.get(name, name)} {value}"


def gibibytes(peak: int | None) -> str:
    """Bytes in GiB."""
    return "" if peak is None else f"{peak / 2**30:.2f}"


def setting(point: SweepPoint, name: str) -> str:
    """One of a point's settings."""
    value = point.settings.get(name)
    if isinstance(value, dict):
        return f"{value['relative']:g}×"
    return f"{value:g}" if isinstance(value, int | float) else str(value or "")


def percent(score: Score | None) -> str:
    """An accuracy in per cent."""
    return "" if score is None else f"{score.value:.1%}"


def figure(value: float | None) -> str:
    """Three significant digits."""
    return "" if value is None else f"{value:.3g}"
