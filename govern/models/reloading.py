"""Whether a written model folder is the model that was edited, found out by what both say of the same prompts.

The folder is loaded by transformers alone, in a process of its own (`python -m govern.models.reloading`), as whoever
receives it will: our names, our loading and what this process has changed in its libraries play no part.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from govern.errors import IntegrityError
from govern.models.delta import apply_delta
from govern.models.loading import load_model, load_tokenizer

if TYPE_CHECKING:
    import torch

PROMPTS: Final = (
    "The capital of France is Paris, and the capital of Japan is",
    "Question: which of these is true?\nAnswer:",
    "def add(a, b):\n    return",
    "0 1 2 3 5 8 13",
)
_TOKENS: Final = 24  # a prompt, at most
# |difference| of two logits, as a share of the largest logit: other sums of the same float32 numbers stay below.
ROUNDING: Final = 1e-4


def refuse_other_model(
    folder: Path, base: Path, tensors: Mapping[str, torch.Tensor], *, trust_remote_code: bool = False
) -> float:
    """The largest difference between the logits of a written folder and of `base` edited in memory, in float32.

    It is a share of the largest logit. Raises IntegrityError where it is more than rounding, where the prompts are cut
    into other tokens, or where transformers cannot load the folder.
    """
    model = load_model(base, dtype=_float32(), trust_remote_code=trust_remote_code)
    apply_delta(model, tensors)
    expected = says(model, load_tokenizer(base, trust_remote_code=trust_remote_code))
    del model
    found = fresh(folder, trust_remote_code=trust_remote_code)
    apart = 0.0
    for name, ours in expected.items():
        theirs = found.get(name)
        if theirs is None or theirs.shape != ours.shape:
            raise _another(folder, "its tokenizer cuts the same text into other tokens")
        difference = (theirs.double() - ours.double()).abs().max() / ours.double().abs().max().clamp_min(1e-12)
        # a NaN is no difference that is small
        apart = max(apart, float(difference)) if bool(difference.isfinite()) else float("inf")
    if apart > ROUNDING:
        raise _another(folder, f"logits differ by up to {apart:.2g} of the largest")
    return apart


def says(model: Any, tokenizer: Any) -> dict[str, torch.Tensor]:
    """The token ids of the fixed prompts, and the logits that a model gives them, [tokens, vocabulary], by prompt."""
    import torch

    found: dict[str, torch.Tensor] = {}
    for number, prompt in enumerate(PROMPTS):
        ids = torch.tensor([tokenizer(prompt)["input_ids"][:_TOKENS]])
        with torch.inference_mode():
            logits = model(ids.to(model.device), use_cache=False).logits[0]
        found |= {f"ids {number}": ids, f"logits {number}": logits.float().cpu().contiguous()}
    return found


def fresh(folder: Path, *, trust_remote_code: bool) -> dict[str, torch.Tensor]:
    """What a folder says in a process of its own. Raises IntegrityError where it cannot be loaded there."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "said.safetensors"
        asked = json.dumps([str(folder.absolute()), str(out), trust_remote_code])
        done = subprocess.run(  # noqa: S603 -- ours, no shell
            [sys.executable, "-m", "govern.models.reloading", asked], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()
            raise _another(folder, f"transformers cannot load it ({reason[-1] if reason else 'killed'})")
        return load_file(out)


def plain(folder: Path, *, trust_remote_code: bool) -> dict[str, torch.Tensor]:
    """What a folder says when transformers alone loads it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=_float32(), use_safetensors=True, **given).eval()
    return says(model, AutoTokenizer.from_pretrained(folder, **given))


def _float32() -> torch.dtype:
    import torch

    return torch.float32


def _another(folder: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the written model is not the edited one: {reason}",
        where=str(folder),
        hint="Nothing was left behind. Please report it, with the model's architecture.",
    )


def _answer(asked: str) -> None:
    from safetensors.torch import save_file

    folder, out, trust_remote_code = json.loads(asked)
    save_file(plain(Path(folder), trust_remote_code=trust_remote_code), out)


if __name__ == "__main__":
    _answer(sys.argv[1])
