"""Two people apply and verify on one workspace at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_policy import TinyPolicy

from govern.audit import Log
from govern.workflow.publication.audit import audit
from govern.workflow.publication.status import status

STORY = """\
import sys, govern
applied = govern.apply(sys.argv[1], workspace=sys.argv[2])
print(applied.run.id, flush=True)
sys.stdin.readline()  # so that both verify at the same time as well
verified = govern.verify(applied.run.id, workspace=sys.argv[2])
print(verified.verdict.attempt, flush=True)
"""


@pytest.mark.slow
def test_two_processes_apply_and_verify_on_one_workspace(tiny_policy: TinyPolicy) -> None:
    command = [sys.executable, "-c", STORY, str(tiny_policy.path), str(tiny_policy.workspace)]
    both = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        for _ in range(2)
    ]
    runs = [process.stdout.readline().strip() for process in both if process.stdout]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], [errors for _, errors in said]
    assert len({*runs}) == 2
    # One log, dense and linear, with the events of both between each other.
    with Log.open(tiny_policy.workspace / "audit.db", create=False) as log:
        events = [stored.event for stored in log.events()]
    assert [event.seq for event in events] == list(range(len(events)))
    for run in runs:
        assert [event.type for event in events if event.run == run] == [
            "apply.started", "apply.finished", "verify.started", "verify.finished", "report.issued",
        ]  # fmt: skip
    audited = audit(tiny_policy.workspace)
    assert (audited.runs, audited.reports) == (2, 2)
    found = status(tiny_policy.workspace)
    assert {entry.run for entry in found} == {*runs}
    assert [entry.verdict for entry in found] == ["inconclusive", "inconclusive"]
    # The same plan on one machine gives the same delta, whatever happens beside it.
    deltas = {event.digests["delta.safetensors"] for event in events if event.type == "apply.finished"}
    assert len(deltas) == 1, json.dumps(sorted(deltas))
