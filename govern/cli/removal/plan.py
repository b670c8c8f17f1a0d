"""`govern plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
)

if TYPE_CHECKING:
    from govern.records import Cost, ModelIdentity, Plan


def plan(
    policy: Annotated[Path, typer.Argument(help="A policy file.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the plan here, for `apply --plan`.")
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="With the settings that this sweep chose, or the `latest` one.")
    ] = None,
    mirror: MirrorOption = None,
    salt: SaltOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Resolve a policy: model, texts, overlap, questions. Changes nothing."""
    from govern.policy import load_policy
    from govern.workflow.removal.chosen import chosen_in
    from govern.workflow.removal.plan import make_plan
    from govern.workspace import write_atomic, writing

    loaded = load_policy(policy)
    chosen = chosen_in(workspace, loaded, sweep) if sweep else None
    with shown_progress() as progress:
        made = make_plan(
            loaded,
            device=device,
            mirror=mirror,
            stored=chosen.folder if chosen else None,
            chosen=chosen,
            salt=salt,
            progress=progress,
        ).plan
    if out:
        with writing("the plan", out):
            write_atomic(out, made.canonical())
    if as_json:
        print_json({"plan": made.to_json(), "inputs_digest": made.inputs_digest})
    else:
        show_plan(made)


def show_plan(plan: Plan) -> None:
    """Print a plan."""
    from rich.text import Text

    console = output()
    say(plan.title, style="bold", wrap=True)
    say(f"policy {plan.policy_name}  sha256:{plan.policy_digest[:16]}…")
    model = plan.model
    say(
        f"model  {model.source}  {model.architecture}, {model.layers} layers, "
        f"{model.parameters / 1e6:,.0f} M parameters",
        wrap=True,
    )
    if plan.edited:
        say(f"edited {plan.edited.source}  elsewhere, sha256:{plan.edited.digest[:16]}…", wrap=True)
    texts = columns("text", "from", "documents", "tokens", right=[2, 3])
    for corpus in plan.corpora:
        texts.add_row(corpus.role, Text(printable(corpus.source)), f"{corpus.documents:,}", f"{corpus.tokens:,}")
    console.print(texts)
    for entry in plan.overlap:
        say(
            f"overlap of topic {entry.topic}: {entry.unigram:.1%} of the distinct forget words occur in the retain "
            f"text, {entry.bigram:.1%} of the word pairs",
            wrap=True,
        )
    questions = columns("questions", "kind", "to choose", "to certify", "facts", right=[2, 3, 4])
    for task in plan.tasks:
        facts = "" if task.clusters is None else f"{task.clusters:,}"
        questions.add_row(
            Text(printable(task.name)), task.kind, f"{task.selection:,}", f"{task.certification:,}", facts
        )
    console.print(questions)
    if plan.cost:
        say(f"method {plan.method}  {cost_in_words(plan.cost, plan.model)}", wrap=True)
    if plan.sweep:
        say(f"settings by sweep {plan.sweep.sweep}, point {plan.sweep.point}")
    for warning in plan.warnings:
        say(f"warning: {warning}", style="yellow", wrap=True)


def cost_in_words(cost: Cost, model: ModelIdentity) -> str:
    """What a method works on and what it costs, in one line."""
    copies = f"{cost.model_copies} copies" if cost.model_copies > 1 else "1 copy"
    passes = f"{cost.forward_passes} forward and {cost.backward_passes} backward passes"
    return (
        f"scope {cost.scope}: {cost.trained_parameters / 1e6:,.1f} M parameters may change; {copies} of "
        f"{cost.blocks} of {model.layers} blocks; {passes} a {'batch' if cost.steps is None else 'step'}"
        f"{'' if cost.steps is None else f', {cost.steps:,} steps'}; "
        f"{cost.memory_bytes / 2**30:,.2f} GiB before activations"
    )
