"""How much memory a block takes, watched from a thread beside it."""

from __future__ import annotations

import sys
import time

import pytest

from govern.workflow.memory import PeakMemory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_peak_in_the_middle_is_seen_and_what_was_there_before_is_not() -> None:
    before = bytearray(64 * MIB)
    with PeakMemory("cpu") as memory:
        taken = bytearray(128 * MIB)
        taken[::4096] = b"1" * len(taken[::4096])  # resident once it is touched
        time.sleep(0.1)
        del taken
    assert memory.bytes is not None
    assert 120 * MIB < memory.bytes < 180 * MIB
    assert before


def test_an_error_passes_and_the_watch_ends() -> None:
    memory = PeakMemory("cpu")
    with pytest.raises(ValueError, match="loss"), memory:
        raise ValueError("loss")
    assert memory.bytes is None or memory.bytes >= 0
