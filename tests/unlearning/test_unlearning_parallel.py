"""Two real processes over gloo end where one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_removal import run
from tiny_workers import REMOVALS, asked

from govern.models import read_tensors
from govern.unlearning.batches import Deck
from govern.unlearning.parallel import joined
from govern.unlearning.workers import ALONE, Alone

SCRIPT = Path(__file__).with_name("tiny_workers.py")


def torchrun(*arguments, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def together(tiny, tmp_path_factory):
    """The results of two workers, by removal."""
    out = tmp_path_factory.mktemp("together")
    done = torchrun(SCRIPT, tiny("llama"), out, *REMOVALS)
    assert done.returncode == 0, done.stderr
    return {name: load_file(out / "results" / f"{name}.safetensors") for name in REMOVALS}


@pytest.mark.parametrize("name", REMOVALS)
def test_two_workers_compute_what_one_computes(tiny, together, name):
    alone = run(asked(tiny("llama"), name))
    found = together[name]
    losses = torch.tensor([[point.forget_loss, point.retain_loss] for point in alone.curve], dtype=torch.float64)
    torch.testing.assert_close(found["losses"], losses, rtol=1e-5, atol=1e-8)
    for key, value in alone.figures.items():
        assert float(found[f"figure/{key}"]) == pytest.approx(value, rel=1e-4), key
    for key, tensor in alone.tensors.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-5)


def test_the_closed_forms_change_is_the_same_to_a_millionth(tiny, together):
    alone = run(asked(tiny("llama"), "closed_form"))
    before = read_tensors(tiny("llama"), alone.tensors)
    for key, tensor in alone.tensors.items():
        change = tensor.double() - before[key].double()
        assert float((together["closed_form"][key].double() - tensor.double()).norm() / change.norm()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "said"), [("--fail", "worker 1 of 2 failed: out of memory"), ("--kill", "another worker is gone")]
)
def test_a_worker_that_fails_ends_all_in_words(tiny, tmp_path, failure, said):
    done = torchrun(SCRIPT, tiny("llama"), tmp_path, "gradient", failure)
    assert done.returncode != 0
    assert f"said by rank 0: torchrun: {said}" in done.stderr
    assert "said by rank 1" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_without_torchrun_nobody_is_waited_for(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # some schedulers set it for reasons of their own
    with joined() as workers:
        assert workers is ALONE
    total = torch.ones(2)
    ALONE.add(total)
    assert total.tolist() == [1, 1]


@pytest.mark.parametrize("mask", ["default", "reference"])
def test_the_workers_rows_are_those_of_the_whole_batch(mask):
    deck = Deck((((5, 6, 7, 8), (9, 10), (11, 12, 13)), ((3, 4),)), mask, "s")
    shares = [deck.shared(Alone(rank, 2)) for rank in (0, 1)]
    for number in (0, 1):
        whole = deck.batch(number)
        parts = [share.batch(number) for share in shares]
        assert {part.input_ids.shape[1] for part in parts} == {whole.input_ids.shape[1]}
        assert sum(int(part.counted.sum()) for part in parts) == int(whole.counted.sum()) == deck.counted([number])
    assert shares[1].batch(0).input_ids.tolist() == [[9, 10, 0, 0]]
    assert not shares[1].batch(1).counted.any()
