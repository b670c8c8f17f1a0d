"""`govern apply`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import print_json, say, shown_progress
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

_SHOWN = 8  # of the changed tensors; a method that changes every weight has hundreds


def apply(
    policy: Annotated[Path | None, typer.Argument(help="A policy file. With --resume, not needed.")] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Finish the latest unfinished run.")] = False,
    plan: Annotated[Path | None, typer.Option("--plan", help="Refuse to apply anything but this plan.")] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Take the settings that this sweep chose. The latest one by default.")
    ] = None,
    mirror: MirrorOption = None,
    salt: SaltOption = None,
    device: DeviceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Remove what the policy names from its model. The model's files stay; the result is a delta beside them.

    On several GPUs or processes: torchrun --standalone --nproc-per-node N -m govern apply POLICY
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # of several workers only the first says what is wrong
        check_policy(policy, "apply", resume=resume)
    from govern.cli.removal.plan import show_plan
    from govern.unlearning.parallel import joined
    from govern.unlearning.ranks import follow
    from govern.workflow.removal.apply import apply as run_apply

    with joined() as workers:
        if workers.rank > 0:
            follow(workers)
            return
        with shown_progress() as progress:
            applied = run_apply(
                policy,
                workspace=workspace,
                resume=resume,
                plan=plan,
                sweep=sweep,
                device=device,
                mirror=mirror,
                salt=salt,
                workers=workers,
                progress=progress,
            )
    removal = applied.removal
    if as_json:
        print_json({"run": applied.run.id, "folder": str(applied.run.root), "removal": removal.to_json()})
        return
    show_plan(applied.plan)
    say("")
    say(f"removed in {removal.seconds:.1f} s: {len(removal.tensors)} tensors changed", style="bold")
    most = sorted(removal.tensors, key=lambda tensor: -tensor.relative_change)[:_SHOWN]
    for tensor in most if len(removal.tensors) > _SHOWN else removal.tensors:
        say(f"  {tensor.name}  moved by {tensor.relative_change:.2%}", wrap=True)
    if len(removal.tensors) > _SHOWN:
        say(f"  … these {_SHOWN} moved most; all of them are in removal.json")
    say(f"run    {applied.run.id}")
    say(f"delta  sha256:{removal.delta_sha256}")
    say("next   govern verify")
