"""Every command of docs/evidence.md does what the page says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from review_team import Team

GUIDE = Path(__file__).parents[3] / "docs" / "evidence.md"


@pytest.mark.slow
def test_the_guide_s_commands_work(team: Team, tmp_path: Path) -> None:
    shutil.copy(team.run / "delta.safetensors", tmp_path)
    commands = ("    govern ", "    model_signing ")
    told = [line.strip() for line in GUIDE.read_text().splitlines() if line.startswith(commands)]
    assert len(told) == 8
    for line in told:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=tmp_path,
            env={**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_KEY": "audits/keys/ian.pem"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        if "pack" in line:
            # What the reader knows from elsewhere.
            shutil.copy(tmp_path / "evidence" / "log.vkey", tmp_path / "log.vkey")
            (tmp_path / "root.pub").write_bytes(team.keys["root"].public.pem)
        if "--log-key" in line:
            assert "compare" not in done.stdout
        if "--model" in line:
            assert "its signature holds" in done.stdout
        if line.startswith("model_signing"):
            assert "Verification succeeded" in done.stdout
    listed = {path.name for path in (tmp_path / "evidence").rglob("*") if path.is_file()}
    named = GUIDE.read_text()
    assert all(name in named for name in listed if not name.endswith((".tlog-proof", "reviewer.pub")))
