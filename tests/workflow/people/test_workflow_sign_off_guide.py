"""Every command of docs/sign_off.md does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy

GUIDE = Path(__file__).parents[3] / "docs" / "sign_off.md"


@pytest.mark.slow
def test_the_guide_s_commands_work(verified: TinyPolicy, tmp_path: Path) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password"}

    def run(line: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in ("ada", "ada2", "old"):
        run(f"govern keys generate --out {name}.pem")
    told = [line.strip() for line in GUIDE.read_text().splitlines() if line.startswith("    govern ")]
    assert len(told) == 8
    for line in told:
        if "revoke" in line:
            # The page's fingerprint is an example; here it is that of a key of this test's own.
            added = run("govern trust add old.pub --person Old --role x --since 2026-01-01 --json")
            fingerprint = re.findall(r'"fingerprint": "([0-9a-f]{64})"', added)[-1]
            line = line.replace("3f9a", fingerprint[:16])
        shown = run(line)
        if line == "govern trust show":
            assert "Ada Example" in shown
    assert "no sign-off required" in " ".join(run("govern status").split())
