"""`self:` text: what a model says when it is asked nothing. No download, no licence question.

Sampling differs between platforms in the last bits, and so in the tokens: a run stores what it sampled.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from govern.corpora.tokenizing import read_tokens, write_tokens
from govern.corpora.tokens import TokenCorpus
from govern.digests import canonical_digest
from govern.errors import IntegrityError, SourceError
from govern.progress import Progress, silent
from govern.sources.cache import cache_folder
from govern.sources.model_files import model_digest, only_model_files
from govern.sources.quiet import quiet
from govern.workspace import write_atomic

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_SIDE_BY_SIDE = 16_384  # tokens whose keys and values are held at once: 256 documents of 64


def sample_from_model(
    model_path: Path,
    *,
    documents: int,
    max_tokens: int,
    seed: int,
    device: str = "cpu",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> TokenCorpus:
    """Documents of up to `max_tokens` ids, each from the BOS token on, drawn from the model's own distribution.

    Temperature 1, no truncation of the distribution, the end-of-text token ends a document and is left out. The same
    arguments give the same tokens on one platform; the result is kept in the user's cache by model digest, arguments,
    library versions and machine.

    Raises SourceError where the model has no token to begin with, or says nothing.
    """
    recipe = {
        "model": model_digest(model_path),
        "documents": documents,
        "max_tokens": max_tokens,
        "seed": seed,
        "device": device,
        "machine": platform.machine(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "algorithm": 1,
    }
    kept = cache_folder() / "self" / f"{canonical_digest(recipe)}.safetensors"
    try:
        return read_tokens(kept.read_bytes())
    except (FileNotFoundError, IntegrityError):
        pass  # never sampled, or damaged since: a cache may be lost
    model = _load(model_path, device, trust_remote_code)
    corpus = draw(model, documents=documents, max_tokens=max_tokens, seed=seed, progress=progress)
    kept.parent.mkdir(exist_ok=True)
    write_atomic(kept, write_tokens(corpus))
    return corpus


def draw(
    model: PreTrainedModel, *, documents: int, max_tokens: int, seed: int, progress: Progress = silent
) -> TokenCorpus:
    """Sample documents from a loaded model. Raises SourceError where no document has two tokens."""
    import torch

    config = model.config.get_text_config(decoder=True)
    if config.bos_token_id is None:
        raise SourceError("the model has no BOS token to begin a text with", hint="Name a file: or hf: retain source.")
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    generator = torch.Generator().manual_seed(seed)
    drawn: list[tuple[int, ...]] = []
    with torch.inference_mode():
        while len(drawn) < documents:
            rows = min(max(1, _SIDE_BY_SIDE // max_tokens), documents - len(drawn))
            ids = torch.full((rows, max_tokens), config.bos_token_id, device=model.device)
            memory = None
            for position in range(1, max_tokens):
                step = model(ids[:, position - 1 : position], past_key_values=memory, use_cache=True)
                memory = step.past_key_values
                ids[:, position] = choose(step.logits[:, -1], generator)
                progress("sample self text", len(drawn) * max_tokens + position * rows, documents * max_tokens)
            drawn += [_until(ends, row) for row in ids.tolist()]
    progress("sample self text", documents * max_tokens, documents * max_tokens)
    kept = tuple(document for document in drawn if len(document) > 1)
    if not kept:
        raise SourceError("the model says nothing by itself", hint="Name a file: or hf: retain source.")
    return TokenCorpus(kept)


def choose(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token a row (rows × vocabulary → rows), by inverting the cumulative distribution.

    Eight times as fast on a CPU as torch.multinomial, which draws one random number for every token it might choose.
    """
    import torch

    cumulative = logits.float().softmax(-1).double().cumsum(-1)
    place = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).to(logits.device)
    chosen = torch.searchsorted(cumulative, place * cumulative[:, -1:], right=True).squeeze(1)
    return chosen.clamp_max(logits.shape[-1] - 1)


def _until(ends: list[int | None], row: list[int]) -> tuple[int, ...]:
    """A row up to its first end-of-text token, the BOS token at its head always kept."""
    stop = next((place for place, token in enumerate(row) if place > 0 and token in ends), len(row))
    return tuple(row[:stop])


def _load(model_path: Path, device: str, trust_remote_code: bool) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    with only_model_files(model_path) as shown, quiet():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            shown,
            # Few CPUs compute in bfloat16; on the others it is several times slower.
            dtype=torch.float32 if device == "cpu" else torch.bfloat16,
            device_map={"": device},
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    model.eval()
    return model
