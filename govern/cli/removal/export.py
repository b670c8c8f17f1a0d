"""`govern export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import shown_progress, tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import signing_key


def export(
    run: Annotated[str, typer.Argument(help="A run's id, or `latest`.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes: a folder that does not exist yet.")],
    *,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            envvar="GOVERN_KEY",
            help="The private key that signs the folder. By default keys/signing.pem of the workspace; without one the "
            "folder is not signed.",
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Write the edited model as a normal model folder, for transformers, vLLM and the like, and sign it (model.sig)."""

    from govern.workflow.removal.export import export as run_export

    signer = signing_key(key, workspace=workspace, no_input=no_input)
    with shown_progress() as progress:
        exported = run_export(run, folder, workspace=workspace, key=signer, progress=progress)
    tell(
        {
            "run": exported.run.id,
            "folder": str(exported.path),
            "model_digest": exported.model_digest,
            "signer": exported.signer,
        },
        f"model  {exported.path}",
        f"digest sha256:{exported.model_digest}",
        f"signed by sha256:{exported.signer}, in model.sig" if exported.signer else "not signed: there is no key",
        as_json=as_json,
    )
