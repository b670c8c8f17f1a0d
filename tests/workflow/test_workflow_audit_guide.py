"""Every command of docs/audit_trail.md does what the page says, and so do the tools on it that are not ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from govern.audit import Log

GUIDE = (Path(__file__).parents[2] / "docs" / "audit_trail.md").read_text()


@pytest.mark.openssl
@pytest.mark.skipif(
    shutil.which("openssl") is None and "openssl" not in os.environ.get("GOVERN_REQUIRE", ""), reason="needs openssl"
)
def test_the_guide_s_commands_work(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "GOVERN_KEY_PASSWORD": "password",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Witness",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "witness@example.org",
    }

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    (tmp_path / "audits").mkdir()
    (tmp_path / "elsewhere").mkdir()
    run("git init -q elsewhere")
    with Log.open(tmp_path / "audits" / "audit.db") as log:
        for _ in range(5):
            log.append("export.finished")
    lines = re.findall(r"^    (\S.*)$", GUIDE.replace("```python", "```").split("```")[0], re.M)
    shown = {line: run(line) for line in lines}
    assert len(lines) == 15
    checkpoint = (tmp_path / "handed-out.checkpoint").read_text()
    assert shown["govern audit checkpoint"] == checkpoint
    assert "Signature Verified" in next(out for line, out in shown.items() if line.startswith("openssl"))
    assert run("git -C elsewhere log --format=%s") == "checkpoint\n"

    script = GUIDE.split("```python\n")[1].split("```")[0]
    # Events that came since the checkpoint do not change the root of those before.
    with Log.open(tmp_path / "audits" / "audit.db") as log:
        log.append("export.finished")
    run("govern audit export --out - > log.jsonl")
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == checkpoint.split("\n")[1:3]
    assert run("govern audit fsck") == "no damage\n"
