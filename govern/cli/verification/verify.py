"""`govern verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import columns, output, print_json, printable, say, shown_progress
from govern.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    MirrorOption,
    NoInputOption,
    RunArgument,
    TemplatesOption,
    WorkspaceOption,
)
from govern.cli.signer import THROWAWAY, KeyOption, signing_key
from govern.cli.verdict import EXIT, STYLE, bound, figure, say_verdict, show_attacks
from govern.errors import UsageError

if TYPE_CHECKING:
    from govern.records import Verdict


def verify(
    run: RunArgument = None,
    *,
    key: KeyOption = None,
    mirror: MirrorOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="cpu, cuda, or auto: spread over all GPUs. The first GPU by default, where there is one."
        ),
    ] = None,
    templates: TemplatesOption = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the gates as JUnit XML here.")] = None,
    sarif: Annotated[Path | None, typer.Option("--sarif", help="Also write the gates as SARIF 2.1.0 here.")] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Sample held-back text anew with this seed, to verify again later."),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Ask in random order, and stop as soon as a gate has certainly failed.")
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="Also ask a deployed model (OpenAI's protocol, such as http://localhost:8000/v1). A key comes from "
            "GOVERN_ENDPOINT_KEY.",
        ),
    ] = None,
    endpoint_model: Annotated[
        str | None, typer.Option("--endpoint-model", metavar="NAME", help="What the endpoint calls the model.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Ask the model before and after, judge every gate, and issue a signed report."""
    from govern.workflow.publication.exports import reported, write_export
    from govern.workflow.verification.endpoint import open_endpoint
    from govern.workflow.verification.verify import verify as run_verify

    if (endpoint is None) != (endpoint_model is None):
        raise UsageError("--endpoint and --endpoint-model go together", where="govern verify")
    deployed = open_endpoint(endpoint, endpoint_model) if endpoint and endpoint_model else None
    signer = signing_key(key, workspace=workspace, no_input=no_input)
    with shown_progress() as progress:
        verified = run_verify(
            run,
            workspace=workspace,
            key=signer,
            mirror=mirror,
            device=device,
            templates=templates,
            seed=seed,
            fail_fast=fail_fast,
            endpoint=deployed,
            progress=progress,
        )
    verdict, issued = verified.verdict, verified.issued
    if as_json:
        print_json({**verdict.to_json(), "report": str(issued.path)})
    else:
        show_verdict(verdict)
        say(f"report {issued.path}")
        if issued.throwaway:
            say(THROWAWAY, wrap=True)
    # After the verdict is said: a path that cannot be written must not hide it.
    if junit or sarif:
        found = reported(verified.run.id, workspace=workspace)
        if junit:
            write_export(found, "junit", junit)
        if sarif:
            write_export(found, "sarif", sarif)
    raise typer.Exit(EXIT[verdict.verdict])


def show_verdict(verdict: Verdict) -> None:
    """Print the gates and the verdict."""
    from rich.text import Text

    from govern.gates.registry import GATES

    table = columns("gate", "before", "after", "bound", "allowed", "verdict", right=[1, 2, 3])
    for gate in verdict.gates:
        table.add_row(
            Text(printable(gate.task)),
            figure(gate, gate.before),
            figure(gate, gate.after),
            bound(gate),
            f"{GATES[gate.kind].rule} {gate.threshold:.1%}",
            Text(gate.verdict, style=STYLE[gate.verdict]),
        )
    output().print(table)
    if verdict.stress:
        show_attacks(verdict.stress)
    for line in beside_the_gates(verdict):
        say(line, wrap=True)
    for gate in verdict.gates:
        if gate.verdict != "pass":
            say(f"{gate.task}: {gate.reason}", wrap=True)
    say_verdict(
        verdict.verdict,
        f"  at {verdict.confidence:.0%} confidence, attempt {verdict.attempt} on these questions, "
        f"{verdict.seconds:.0f} s",
    )


def beside_the_gates(verdict: Verdict) -> Iterator[str]:
    """What else was found, in sentences: neighbours, subjects that lost, the sequential test, the endpoint."""
    for found in verdict.neighbours:
        between = found.drop_interval
        yield (
            f"next to {found.hazard} ({found.task}: {', '.join(found.subjects)}): {found.before:.1%} before, "
            f"{found.after:.1%} after, drop {found.drop:+.1%} ({between.low:+.1%} to {between.high:+.1%})"
        )
    if verdict.subjects:
        lost = [each for each in verdict.subjects if each.lost]
        said = ", ".join(f"{each.subject} (at least {each.bound:.1%})" for each in lost) or "none"
        yield f"subjects that lost, of {len(verdict.subjects)}, corrected for their number (Holm): {said}"
    if test := verdict.sequential:
        end = "stopped there" if test.stopped else "to the end"
        yield f"asked {test.asked} of {test.questions} certifying questions in {test.look} of {test.looks} looks, {end}"
        if test.unjudged:
            yield f"not judged: {', '.join(test.unjudged)}"
    for check in verdict.endpoint:
        yield (
            f"{check.model} at {check.url}, {check.task}: {check.as_edited} of {check.n} answers are the verified "
            f"model's; of {check.telling} that tell the two apart, {check.as_base} are the base model's; "
            f"{check.unanswered} name no choice"
        )
