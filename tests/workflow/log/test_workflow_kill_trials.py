"""Killed at every operation on a file: a witness forgets nothing that it answered, and a publication is completed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_log import PASSWORD, grow, key_of, verifier_of

from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.cosigning import request_cosignature
from govern.workflow.people.keys import cosigner_key_path, make_cosigner_key

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.cc
@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs Linux and a compiler")
def test_nothing_acknowledged_is_lost_at_any_kill_point(logged: Path, tmp_path: Path) -> None:
    library = tmp_path / "failing_io.so"
    source = HERE.parents[1] / "audit" / "failing_io.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    (tmp_path / "requests").mkdir()
    (tmp_path / "vkey").write_text(verifier_of(logged).vkey)
    make_cosigner_key(tmp_path / "theirs", cosigner_key_path(tmp_path / "theirs"), PASSWORD)
    old = 0
    for size in (7, 8, 10):
        request_cosignature(logged, tmp_path / "requests" / f"{size:02}", old=old)
        grow(logged, 1 if size == 7 else 2)
        sign_head(logged, key=key_of(logged))
        old = size
    done = subprocess.run(
        [sys.executable, HERE / "kill_trials.py", library, tmp_path],
        env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    for trial in trials:
        assert trial["code"] == (0 if trial["unreached"] else -signal.SIGKILL), trial
    cosigned = [trial for trial in trials if trial["what"] == "cosign"]
    published = [trial for trial in trials if trial["what"] == "publish"]
    assert len(cosigned) > 20
    assert len(published) > 20
    sizes = [0, 7, 8, 10]
    for trial in cosigned:
        # At most one was remembered and not answered; all that were answered were remembered.
        place = sizes.index(trial["known"])
        assert len(trial["answered"]) <= place <= len(trial["answered"]) + 1, trial
        assert set(trial["answered"]) <= {"200"}, trial
        # The last request is known or new; what led there before is a conflict once it is old.
        assert trial["again"] == ["409"] * place + ["200"] * (3 - place), trial
    assert {len(trial["answered"]) for trial in cosigned} == {0, 1, 2, 3}
    for trial in published:
        assert set(trial["sizes"]) <= {12}, trial
        assert trial["sizes"], trial
        assert not trial["answered"] or trial["whole"], trial
    assert {trial["whole"] for trial in published} == {False, True}
