"""Every command of docs/open_log.md does what the page says, the servers among them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from govern.audit import Log

GUIDE = (Path(__file__).parents[3] / "docs" / "open_log.md").read_text()


@pytest.mark.slow
def test_the_page_s_commands_work(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "GOVERN_KEY_PASSWORD": "password",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (tmp_path / "audits").mkdir()
    with Log.open(tmp_path / "audits" / "audit.db") as log:
        for _ in range(5):
            log.append("export.finished")
    text = GUIDE
    for port in ("8090", "8091"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            text = text.replace(port, str(free.getsockname()[1]))
    servers, said = [], {}
    try:
        for line in re.findall(r"^    (\S.*)$", text, re.M):
            if line.startswith("govern audit serve"):
                server = subprocess.Popen(
                    line.split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
                )
                servers.append(server)
                assert server.stdout is not None
                assert "http://127.0.0.1:" in server.stdout.readline()
                continue
            done = subprocess.run(
                ["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            said[line] = done.stdout
    finally:
        for server in servers:
            server.kill()
            server.wait()
            if server.stdout:
                server.stdout.close()
    assert (len(servers), len(said)) == (2, 13)
    follows = [out for line, out in said.items() if "audit follow" in line]
    assert "seen for the first time" in follows[0]
    assert "nothing new names the model" in follows[1]
    assert "event.json is in it" in follows[2]
    assert "cosigned by govern-log/" in follows[3]
    assert "enough witnesses" in said["govern audit collect-cosignatures --quorum quorum.txt"]
