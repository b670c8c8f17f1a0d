"""`govern keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from govern.cli.console import tell
from govern.cli.options import DEFAULT_WORKSPACE, JsonOption, NoInputOption, WorkspaceOption
from govern.cli.signer import read_password, read_pin
from govern.errors import UsageError

app = typer.Typer(help="Make keys to sign reports and checkpoints with.", no_args_is_help=True)


@app.command("generate")
def generate_key(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            dir_okay=False,
            help="Where the private key goes. By default keys/signing.pem, log.pem or cosigner.pem of the workspace.",
        ),
    ] = None,
    log: Annotated[
        bool, typer.Option("--log", help="Make the log's own key (Ed25519), which signs its checkpoints and no report.")
    ] = False,
    cosigner: Annotated[
        bool,
        typer.Option("--cosigner", help="Make the key (Ed25519) that cosigns other logs' checkpoints as a witness."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Make a P-256 key pair, the private half encrypted under GOVERN_KEY_PASSWORD or a password that is asked for."""

    from govern.workflow.people.keys import generate

    if log and cosigner:
        raise UsageError("one key is either the log's or a cosigner's", where="--cosigner", hint="Make two keys.")
    if log or cosigner:
        _generate_log_key(out, workspace, cosigner=cosigner, as_json=as_json, no_input=no_input)
        return
    key = generate(workspace, read_password(confirm=True, no_input=no_input), out=out)
    tell(
        {"key": str(key.path), "public": str(key.public), "fingerprint": key.fingerprint},
        f"private key {key.path} (encrypted; keep it and its password)\n"
        f"public key  {key.public} (hand it out: reviewers pin it in their workspace's trusted folder)\n"
        f"fingerprint sha256:{key.fingerprint}",
        as_json=as_json,
    )


@app.command("adopt")
def adopt_key(
    uri: Annotated[str, typer.Argument(metavar="URI", help="A token's key (pkcs11:token=…;object=…).")],
    *,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where its public half goes: a new file.")],
    log: Annotated[bool, typer.Option("--log", help="It is to be the log's own key (Ed25519).")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
    no_input: NoInputOption = False,
) -> None:
    """Make a key known that a token keeps, where its own tools made it. The PIN is in GOVERN_PIN or asked for."""

    from govern.signing.token import load_token_key, load_token_log_key, parse_token_uri
    from govern.workflow.people.keys import adopt, adopt_log_key

    parsed = parse_token_uri(uri)
    if log:
        vkey = adopt_log_key(workspace, load_token_log_key(parsed, read_pin(no_input=no_input)), out)
        tell({"key": uri, "public": str(out), "vkey": vkey}, f"public key  {out}\n{vkey}", as_json=as_json)
        return
    key = adopt(workspace, load_token_key(parsed, read_pin(no_input=no_input)), out)
    tell(
        {"key": uri, "public": str(out), "fingerprint": key.fingerprint},
        f"public key  {out}\nfingerprint sha256:{key.fingerprint}",
        as_json=as_json,
    )


def _generate_log_key(out: Path | None, workspace: Path, *, cosigner: bool, as_json: bool, no_input: bool) -> None:

    from govern.workflow.people.keys import (
        cosigner_key_path,
        log_key_path,
        make_cosigner_key,
        make_log_key,
        verifier_path,
    )

    path = out or (cosigner_key_path if cosigner else log_key_path)(workspace)
    make = make_cosigner_key if cosigner else make_log_key
    make(workspace, path, read_password(confirm=True, no_input=no_input))
    public = verifier_path(path)
    vkey = public.read_text(encoding="utf-8").strip()
    tell(
        {"key": str(path), "public": str(public), "vkey": vkey},
        f"private key {path} (encrypted; keep it away from the log, if you can)\n"
        f"public key  {public} (hand it out: what this key signs is checked with it)\n"
        f"{vkey}",
        as_json=as_json,
    )
