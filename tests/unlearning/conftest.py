from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_decoders import CONFIGS, formula_weights
from transformers import AutoModelForCausalLM


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from a second thread, and lose much where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny("llama")`: the folder of a float32 checkpoint of that architecture; `dtype` stores it in another."""
    made: dict[tuple[str, torch.dtype], Path] = {}

    def make(architecture: str, dtype: torch.dtype = torch.float32) -> Path:
        if (architecture, dtype) not in made:
            folder = tmp_path_factory.mktemp(architecture)
            model = formula_weights(AutoModelForCausalLM.from_config(CONFIGS[architecture]()))
            model.to(dtype).save_pretrained(folder)
            made[architecture, dtype] = folder
        return made[architecture, dtype]

    return make
