"""Every command of docs/audit_trail.md does what the page says, and so do the tools on it that are not ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from timestamp_authority import make_authority, serve

from govern.audit import Log

GUIDE = (Path(__file__).parents[3] / "docs" / "audit_trail.md").read_text()


@pytest.mark.slow
@pytest.mark.openssl
@pytest.mark.skipif(
    shutil.which("openssl") is None and "openssl" not in os.environ.get("GOVERN_REQUIRE", ""), reason="needs openssl"
)
def test_the_guide_s_commands_work(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "GOVERN_KEY_PASSWORD": "password",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    (tmp_path / "audits").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tsa").mkdir()
    authority = make_authority(tmp_path / "tsa")
    shutil.copy(authority.root, tmp_path / "tsa.pem")
    run("git init -q --bare -b main hosted.git")
    with Log.open(tmp_path / "audits" / "audit.db") as log:
        for _ in range(5):
            log.append("export.finished")
    lines = re.findall(r"^    (\S.*)$", GUIDE.replace("```python", "```").split("```")[0], re.M)
    with serve(authority, []) as url:
        shown = {line: run(line.replace("https://tsa.example.org/", url)) for line in lines}
    assert len(lines) == 24
    checkpoint = (tmp_path / "handed-out.checkpoint").read_text()
    assert shown["govern audit checkpoint"] == checkpoint
    assert "Signature Verified" in next(out for line, out in shown.items() if line.startswith("openssl pkeyutl"))
    assert "cosigned by" in next(out for line, out in shown.items() if "verify" in line and "--cosigner" in line)
    assert "Verification: OK" in next(out for line, out in shown.items() if line.startswith("openssl ts"))

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
