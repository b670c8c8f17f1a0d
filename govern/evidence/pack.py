"""Writing an evidence pack: the files, and a page that says how to check them with tools that are not ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from govern.errors import UsageError
from govern.evidence.names import MODEL_SIGNATURE, PEOPLE_FILES, ROOT_KEY, SIGNER, TRUST_BUNDLE, VERIFY
from govern.workspace.atomic import sync_folder, write_atomic

_PAGE = """\
# How to check this evidence

Everything needed lies in this folder; no network, no database and no trust in whoever sent it.

## With govern

    govern evidence verify .

It checks every file of the list below against the others and says who signed. A signature shows that a key's holder
signed; whose key it is, you must know from elsewhere: ask the organisation for its root key and its log's key, and give
them to the command (`--root root.pub --log-key log.vkey`).

## With openssl and a shell

`model.sig` and every `*.sigstore.json` is one signature over one statement (DSSE). In bash, this checks each with its
public key:

    dsse() { sed -n 's/.*"'"$2"'":"\\([^"]*\\)".*/\\1/p' "$1" | openssl base64 -d -A; }
    check() {
      { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(dsse "$1" payload | wc -c)"; dsse "$1" payload; } |
        openssl dgst -sha256 -verify "$2" -signature <(dsse "$1" sig)
    }
$CHECKS

The report's statement is the one that was signed, and it names the report's SHA-256:

    dsse report.sigstore.json payload | cmp - statement.json
    grep -q "$(openssl dgst -sha256 -r report.html | cut -d ' ' -f 1)" statement.json
    grep -q "$(openssl dgst -sha256 -r report.md | cut -d ' ' -f 1)" statement.json

The changed weights are too large for this folder. Where you have the file, `delta.safetensors` of the run, this holds
it against its signature (`pip install model-signing pyOpenSSL`):

    model_signing verify key "$DELTA" --signature model.sig --public_key signer.pub

A key's fingerprint is the SHA-256 of its DER form:

    openssl pkey -pubin -in signer.pub -outform DER | openssl dgst -sha256

## What is in here

$FILES
"""


def write_pack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a pack's files and their VERIFY.md to `folder`, which must not exist: all of them or none.

    Raises UsageError where the folder exists or cannot be made.
    """
    if folder.exists():
        raise UsageError("a pack is never written over something", where=str(folder), hint="Name a folder that is new.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UsageError(f"the pack cannot be written: {error.strerror}", where=str(folder)) from None
    try:
        temporary.chmod(0o755)
        for name, data in {**files, VERIFY: verify_page(files)}.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def verify_page(names: Iterable[str]) -> bytes:
    """The page for a pack of these files: it follows from their names alone."""
    listed = sorted(set(names) - {VERIFY})
    checks = "\n".join(f"    check {name} {_key_of(name)}" for name in listed if _is_bundle(name))
    page = _PAGE.replace("$CHECKS", checks).replace("$FILES", "\n".join(f"- `{name}`" for name in listed))
    return page.encode()


def _is_bundle(name: str) -> bool:
    return name.endswith(".sigstore.json") or name == MODEL_SIGNATURE


def _key_of(bundle: str) -> str:
    folder, _, name = bundle.rpartition("/")
    for signed, key, _ in PEOPLE_FILES.values():
        if folder and name == signed:
            return f"{folder}/{key}"
    return ROOT_KEY if bundle == TRUST_BUNDLE else SIGNER
