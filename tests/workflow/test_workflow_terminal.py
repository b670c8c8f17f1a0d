"""plan, sweep, apply, verify and status at 80 columns, without colour, through a pipe; hostile titles stay text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy

ESCAPES = r"\e]0;owned\a\e[31mred"
HOSTILE = "[bold red]red[/bold red] <b>|`x` {{ 7*7 }} [link=https://evil.example]x[/link]"


def piped(policy: TinyPolicy, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "govern", *arguments, "--workspace", str(policy.workspace), "--no-input"],
        cwd=policy.path.parent,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_every_table_survives_80_columns_no_colour_and_a_pipe(tiny_policy: TinyPolicy) -> None:
    title = next(line for line in tiny_policy.path.read_text().splitlines() if line.startswith("title:"))
    tiny_policy.replace(title, f'title: "{ESCAPES}"')
    refused = piped(tiny_policy, "plan", str(tiny_policy.path))
    assert (refused.returncode, "\x1b" in refused.stderr) == (2, False)
    assert "U+001B is not allowed" in refused.stderr
    tiny_policy.replace(f'title: "{ESCAPES}"', f'title: "{HOSTILE}"\ndeployment: {{residual_risk: "{HOSTILE}"}}')
    swept = tiny_policy.path.with_name("swept.yaml")
    text = tiny_policy.path.read_text().replace("coefficient: 5", "coefficient: {sweep: {values: [1, 20]}}")
    text = text.replace("cluster: fact}", "cluster: fact, use: split}")
    swept.write_text(text.replace("verification:\n", "verification:\n  selection: {share: 0.5}\n"))
    asked = [
        ("plan", str(tiny_policy.path)),
        ("sweep", str(swept)),
        ("apply", str(tiny_policy.path)),
        ("verify",),
        ("status",),
        ("status", "RUN"),
        ("report", "verify", "REPORT"),
    ]
    for command in asked:
        report = next(iter((tiny_policy.workspace / "runs").glob("*/report.html")), Path())
        done = piped(
            tiny_policy, *({"REPORT": str(report), "RUN": report.parent.name}.get(word, word) for word in command)
        )
        assert done.returncode in (0, 3, 5), (command, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout.strip(), command
        for stream in (done.stdout, done.stderr):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", stream), command
            # A path or a digest is one word, to be copied, and torch's own warnings are not ours to fold; nothing else
            # is wider than the terminal.
            ours = [line for line in stream.splitlines() if " torch/" not in line]
            assert [line for line in ours if len(line) > 80 and not re.search(r"\S{40,}", line)] == [], command


def test_a_plan_that_cannot_be_written_is_one_line(tiny_policy: TinyPolicy) -> None:
    out = tiny_policy.path / "plan.json"
    refused = piped(tiny_policy, "plan", str(tiny_policy.path), "--out", str(out))
    assert refused.returncode == 2
    assert "the plan cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr
