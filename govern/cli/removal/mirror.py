"""`govern mirror`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from govern.cli.console import tell
from govern.cli.options import JsonOption, NoInputOption

if TYPE_CHECKING:
    from govern.workflow.removal.mirror import Checked

app = typer.Typer(help="The official question sets on a machine without internet.", no_args_is_help=True)


@app.command("create")
def create_mirror(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the mirror goes.")],
    *,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="wmdp, mmlu or wikitext. All by default; may be given again.")
    ] = None,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Fetch the official question sets at their pinned revisions, count their questions and write their hashes.

    What already lies in DIR/cais/wmdp, DIR/cais/mmlu or DIR/EleutherAI/wikitext_document_level is kept, counted and
    hashed as it is.
    """
    from govern.workflow.removal import mirror

    chosen = tuple(dict.fromkeys(dataset)) if dataset else tuple(mirror.DATASETS)
    _show(mirror.create(folder, names=chosen), as_json=as_json)


@app.command("check")
def check_mirror(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `govern mirror create` made.")],
    *,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Hold a mirror against its hashes and the published numbers of questions."""
    from govern.workflow.removal import mirror

    _show(mirror.check(folder), as_json=as_json)


def _show(checked: Checked, *, as_json: bool) -> None:
    mirror = checked.mirror
    lines = [f"{checked.folder}: {len(mirror.files)} files, {sum(checked.questions.values())} questions"]
    for dataset in mirror.datasets:
        revision = f"revision {dataset.revision}" if dataset.revision else "laid out by hand"
        lines.append(f"  {dataset.path}, {revision}")
    lines += [f"manifest sha256:{mirror.sha256}", f"use it with: govern verify --mirror {checked.folder}"]
    facts = {
        "mirror": str(checked.folder),
        "sha256": mirror.sha256,
        "datasets": [dataset.to_json() for dataset in mirror.datasets],
        "files": len(mirror.files),
        "questions": checked.questions,
    }
    tell(facts, *lines, as_json=as_json)
