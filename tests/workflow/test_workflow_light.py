"""Light commands load neither torch nor a model library, and a command that is misused says so before it loads any.

All of them run one after the other in one new process, which says after each what has been loaded since it began: the
first that loads too much is named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from review_team import Team

from govern.workflow.people.keys import log_key_path, make_log_key

HEAVY = ["torch", "transformers", "torchao", "datasets", "lm_eval", "scipy", "sklearn", "accelerate", "peft"]
PROGRAM = f"""
import contextlib, io, json, sys
from govern.cli import main
told = []
for arguments in json.load(sys.stdin):
    sys.argv, out, err, code = ["govern", *arguments], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    told.append({{"command": " ".join(arguments), "code": code, "loaded": loaded, "err": err.getvalue()}})
json.dump(told, sys.stdout)
"""
LIGHT = [
    "--help",
    "status",
    "status latest --json",
    "compare latest latest",
    "report open --print",
    "report verify REPORT",
    "report render",
    "report export --format json --out out.json",
    "report export --format junit --out out.xml",
    "report export --format sarif --out out.sarif",
    "report export --format cyclonedx --out out.cdx.json",
    "report schema",
    "site --out site",
    "site --check site",
    "audit log",
    "audit verify",
    "audit fsck",
    "audit export --out log.jsonl",
    "audit check-export log.jsonl",
    "audit checkpoint --log-key KEYS/log.pem",
    "audit witness witness",
    "audit prove 2 --out event.proof",
    "audit check-proof event.proof --log-key KEYS/log.vkey",
    "audit publish published",
    "audit follow published --seen seen --log-key KEYS/log.vkey",
    "evidence pack latest pack --log-key KEYS/log.pem",
    "evidence verify pack",
    "keys generate --out new.pem",
    "keys generate --log --out new-log.pem",
    "trust show",
    "trust add new.pub --person Eva --role legal --root-key KEYS/root.pem",
    "review latest --approve --comment Read. --key KEYS/ada.pem",
    "waive latest --gate secret/acc --until 2099-01-01 --reason Pilot. --key KEYS/max.pem",
    "runs prune --keep 0",
    "policy validate POLICY",
    "policy schema",
    "init new",
    "revoke latest --reason Overtaken. --key KEYS/lea.pem",
    "status latest",
]
REFUSED = {
    "sweep": "there is no policy to sweep",
    "sweep missing.yaml": "there is no such file",
    "apply": "there is no policy to apply",
    "apply missing.yaml": "there is no such file",
    "compare latest": "there is no second run",
    "compare POLICY --methods nonsense": "no method 'nonsense'",
    "compare missing.yaml --methods npo": "there is no such file",
    "compare POLICY --methods npo --budget inf": "ends nowhere",
}


@pytest.fixture
def told(team: Team, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What each command came to, by its line."""
    keys = team.workspace / "keys"
    make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    places = {"KEYS": str(keys), "REPORT": str(team.run / "report.html"), "POLICY": str(team.policy.path)}
    lines = [*LIGHT, *REFUSED]
    commands = []
    for line in lines:
        for name, place in places.items():
            line = line.replace(name, place)
        commands.append(line.split(" "))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERN_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(commands),
        env={**environment, "GOVERN_WORKSPACE": str(team.workspace), "GOVERN_KEY_PASSWORD": "password"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(zip(lines, json.loads(done.stdout), strict=True))


def test_a_light_command_loads_no_model_library_and_says_nothing_beside_its_result(
    told: dict[str, dict[str, Any]],
) -> None:
    for line in LIGHT:
        assert told[line]["code"] == 0, told[line]
        assert not told[line]["loaded"], told[line]
        assert not told[line]["err"], told[line]
    for line, said in REFUSED.items():
        assert told[line]["code"] == 2, told[line]
        assert not told[line]["loaded"], told[line]
        assert said in told[line]["err"].replace("\n", " "), told[line]
        assert "Traceback" not in told[line]["err"]
