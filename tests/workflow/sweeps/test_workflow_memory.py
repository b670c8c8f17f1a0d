"""How much memory a block takes, watched from a thread beside it."""

from __future__ import annotations

import sys
import time

import pytest

from govern.workflow.sweeps.memory import PeakMemory

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


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_what_was_freed_before_is_counted_when_it_is_taken_again() -> None:
    def take() -> list[bytearray]:
        return [bytearray(b"1" * 65_536) for _ in range(1024)]  # too small for the system to have each back at once

    kept = take()
    last = bytearray(b"1" * 65_536)  # above them, so that the heap's top does not fall when they go
    del kept
    with PeakMemory("cpu") as memory:
        taken = take()
    assert memory.bytes is not None
    assert memory.bytes > 48 * MIB
    assert taken
    assert last


def test_an_error_passes_and_the_watch_ends() -> None:
    memory = PeakMemory("cpu")
    with pytest.raises(ValueError, match="loss"), memory:
        raise ValueError("loss")
    assert memory.bytes is None or memory.bytes >= 0
