"""What people see: results on stdout, progress and errors on stderr, all of it fit for 80 columns and for a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from govern.errors import GovernError, IntegrityError
from govern.shown import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from govern.progress import Progress

# Without a terminal, a stage that takes longer says where it is after so many seconds.
_SILENCE = 30.0


def output() -> Console:
    """The console for results."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """The console for progress and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=False)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps({"format_version": 1, **value}, indent=2, ensure_ascii=False) + "\n")


def print_schema(schema: dict[str, Any], *, as_json: bool) -> None:
    """Print a JSON Schema as it is, or within the one object of --json."""
    if as_json:
        print_json({"schema": schema})
    else:
        sys.stdout.write(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


def say(text: str, *, style: str = "", wrap: bool = False) -> None:
    """Print text on stdout, line for line as it is, or with `wrap` broken at words to fit the terminal."""
    from rich.text import Text

    output().print(Text(printable(text), style=style), soft_wrap=not wrap)


def tell(facts: dict[str, Any], *lines: str, as_json: bool) -> None:
    """Print `facts` as one JSON object, or `lines` for people."""
    if as_json:
        print_json(facts)
    else:
        say("\n".join(lines))


def columns(*names: str, right: Sequence[int] = (), fold: Sequence[int] = ()) -> Table:
    """An empty table without lines: figures go to the right; ids are folded, for one that is cut off names nothing."""
    from rich.table import Table

    table = Table(*names, box=None, pad_edge=False)
    for place in right:
        table.columns[place].justify = "right"
    for place in fold:
        table.columns[place].overflow = "fold"
    return table


def printable(text: str) -> str:
    """Our own text, of several lines, with what came from outside in it: without characters that steer a terminal."""
    return "".join(character if character.isprintable() or character in "\n" else "\ufffd" for character in text)


def print_error(error: GovernError) -> None:
    """Say what happened, where, and what to do next, on stderr."""
    from rich.text import Text

    console = errors()
    for finding in getattr(error, "findings", [error]):
        text = Text("error: ", style="bold red")
        if finding.where:
            text.append(f"{shown(finding.where, 4000)}: ", style="bold")
        text.append(
            shown(finding.message, 4000) if isinstance(finding, IntegrityError) else printable(finding.message),
            style="default",
        )
        # A path broken over two lines cannot be copied, so lines are left to the terminal to wrap.
        console.print(text, soft_wrap=True)
        if finding.hint:
            console.print(Text(f"  {printable(finding.hint)}"), soft_wrap=True)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A progress bar on a terminal; elsewhere one line at each stage's end, and one now and then in a long stage."""
    console = errors()
    if console.is_terminal:
        with _bars(console) as report:
            yield report
    else:
        yield _lines()


def _lines() -> Progress:
    last = time.monotonic()

    def line(stage: str, done: int, total: int, **values: float) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last > _SILENCE:
            sys.stderr.write(f"{stage}: {done}/{total}{_figures(values)}\n")
            last = time.monotonic()

    return line


def _figures(values: dict[str, float]) -> str:
    return "".join(f"  {name} {value:.4g}" for name, value in values.items())


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[figures]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=False) as bars:
        known: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, **values: float) -> None:
            if stage not in known:
                known[stage] = bars.add_task(Text(printable(stage)).markup, total=total, figures="")
            bars.update(known[stage], completed=done, total=total, figures=_figures(values).strip())

        yield report
