"""Every command of docs/after_the_report.md does what the page says."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from review_team import Team

GUIDE = Path(__file__).parents[3] / "docs" / "after_the_report.md"


@pytest.mark.slow
def test_the_guide_s_commands_work(team: Team, tmp_path: Path) -> None:
    assert team.workspace == tmp_path / "audits"
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password"}

    def run(line: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, (line, done.stderr)
        return done.stdout

    run("govern keys generate --out max.pem")
    shutil.copy(team.workspace / "keys" / "ada.pem", tmp_path)
    told = [line.strip() for line in GUIDE.read_text().splitlines() if line.startswith("    govern ")]
    assert len(told) == 8
    shown = {}
    digest: str = json.loads((team.run / "removal.json").read_text())["edited_model_digest"]
    for line in told:
        if "models log" in line:
            # The page's digest is an example; here it is the edited model's.
            line = line.replace("3f9a41c2", digest[:8])
        shown[line] = run(line, code=5 if line.startswith("govern verify") else 0)
    assert "stays inconclusive" in next(text for line, text in shown.items() if "waive" in line)
    assert "descendant" not in next(text for line, text in shown.items() if "models log" in line)
    # A workspace with one run keeps it.
    assert "0 runs" in shown["govern runs prune --keep 5"]
    assert "REVOKED" in run("govern status")
