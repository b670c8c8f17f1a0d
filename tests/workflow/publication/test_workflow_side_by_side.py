"""Two models at work at once give what they give one after the other, and end together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from govern.corpora import TokenCorpus
from govern.models import load_model
from govern.progress import Progress, silent
from govern.training import FineTuning, fine_tune
from govern.workflow.verification.side_by_side import fits_side_by_side, side_by_side

CORPUS = TokenCorpus(tuple(tuple(range(start, start + 12)) for start in range(3, 40, 3)))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("at_once", [False, True])
def test_each_side_reports_under_its_name_and_results_are_in_order(at_once: bool) -> None:
    heard = []

    def work(side: int, progress: Progress) -> int:
        progress("count", side, 2)
        return side * 10

    def listen(stage: str, done: int, total: int, **_: float) -> None:
        heard.append((stage, done, total))

    assert side_by_side(work, {"base": 1, "edited": 2}, listen, at_once=at_once) == (10, 20)
    assert sorted(heard) == [("base: count", 1, 2), ("edited: count", 2, 2)]


def test_the_sides_share_the_threads_and_give_them_back() -> None:
    def threads(_: int, progress: Progress) -> int:
        return torch.get_num_threads()

    assert side_by_side(threads, {"a": 1, "b": 2}, silent, at_once=True) == (1, 1)
    assert side_by_side(threads, {"a": 1, "b": 2}, silent, at_once=False) == (2, 2)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("failing", ["a", "b"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_where_one_side_fails_the_other_ends_and_the_reason_is_told(failing: str, error: type[BaseException]) -> None:
    steps = 0

    def work(side: str, progress: Progress) -> None:
        nonlocal steps
        if side == failing:
            raise error("the reason")
        for step in range(100_000):
            progress("step", step, 100_000)
            steps = step
            time.sleep(0.001)

    with pytest.raises(error, match="the reason"):
        side_by_side(work, {"a": "a", "b": "b"}, silent, at_once=True)
    assert steps < 90_000
    assert torch.get_num_threads() == 2


def dropping_out(folder: Path) -> Path:
    """A tiny GPT-2, which has dropout."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("rank", [None, 4])
def test_models_trained_at_once_are_those_trained_one_after_the_other(
    tiny_llama: Path, tmp_path: Path, rank: int | None, dropout: bool
) -> None:
    folder = dropping_out(tmp_path) if dropout else tiny_llama

    def work(seed: int, progress: Progress) -> dict[str, torch.Tensor]:
        model = load_model(folder, dtype=torch.float32)
        fine_tune(model, CORPUS, FineTuning(steps=12, learning_rate=1e-2, lora_rank=rank, seed=seed), progress=progress)
        return model.state_dict()

    at_once = side_by_side(work, {"base": 0, "edited": 1}, silent, at_once=True)
    torch.set_num_threads(1)
    in_turn = side_by_side(work, {"base": 0, "edited": 1}, silent, at_once=False)
    for one, other in zip(at_once, in_turn, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_loading_a_model_draws_no_random_number(tiny_llama: Path) -> None:
    """Or it would change an adapter that another thread is making at that time."""
    before = torch.get_rng_state()
    load_model(tiny_llama, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_models_that_take_more_than_half_of_the_memory_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 2**12}  # 4 GiB
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert fits_side_by_side(60_000_000, "cpu")
    assert not fits_side_by_side(70_000_000, "cpu")


def test_large_models_and_other_devices_wait_for_each_other() -> None:
    assert fits_side_by_side(135_000_000, "cpu")
    assert not fits_side_by_side(7_000_000_000, "cpu")
    assert not fits_side_by_side(135_000_000, "cuda")
    torch.set_num_threads(1)
    assert not fits_side_by_side(135_000_000, "cpu")
