"""Sigstore's own verifier for JavaScript accepts every bundle of a pack and refuses each changed one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from govern.signing import throwaway_key

SCRIPT = Path(__file__).with_name("sigstore_verify.mjs")
FOLDER = os.environ.get("GOVERN_SIGSTORE_JS", "")

pytestmark = [
    pytest.mark.sigstore_js,
    pytest.mark.skipif(
        shutil.which("node") is None or not (Path(FOLDER) / "node_modules" / "@sigstore" / "verify").is_dir(),
        reason="node is not installed, or GOVERN_SIGSTORE_JS names no folder with npm's @sigstore/verify",
    ),
]


def accepts(bundle: Path, key: Path) -> bool:
    done = subprocess.run(["node", SCRIPT, bundle, key], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Error" in done.stderr, done.stderr
    assert "Cannot find module" not in done.stderr
    return done.returncode == 0 and done.stdout == "verified\n"


def test_every_bundle_is_accepted_as_it_is_and_refused_as_it_is_not(packed_once: Path, tmp_path: Path) -> None:
    # The pack's own page lists every bundle that is in it, and its key.
    checks = re.findall(r"^    check (\S+) (\S+)$", (packed_once / "VERIFY.md").read_text(), re.M)
    bundles = sorted([*packed_once.rglob("*.sigstore.json"), packed_once / "model.sig"])
    assert sorted(packed_once / bundle for bundle, _ in checks) == bundles
    stranger, changed = tmp_path / "stranger.pub", tmp_path / "changed.json"
    stranger.write_bytes(throwaway_key().public.pem)
    for bundle, key in ((packed_once / bundle, packed_once / key) for bundle, key in checks):
        assert accepts(bundle, key)
        assert not accepts(bundle, stranger)
        told = json.loads(bundle.read_text())
        envelope = told["dsseEnvelope"]
        signature = envelope["signatures"][0]["sig"]
        for part in (
            {"payload": "A" + envelope["payload"][1:]},
            {"payloadType": "text/plain"},
            {"signatures": [{"sig": signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]}]},
            {"signatures": []},
        ):
            changed.write_text(json.dumps({**told, "dsseEnvelope": {**envelope, **part}}))
            assert not accepts(changed, key)
