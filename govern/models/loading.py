"""Models and tokenizers from a folder on this machine. Torch and transformers load inside the functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError, SourceError
from govern.sources.model_files import model_files
from govern.sources.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


SPREAD = "auto"
"""The device of a model that is spread over all GPUs."""


def load_config(path: Path, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """A model's config. Raises SourceError where transformers does not know its kind."""
    from transformers import AutoConfig

    config: PreTrainedConfig = _load(AutoConfig, path, trust_remote_code=trust_remote_code)
    return config


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """A model's tokenizer. Raises SourceError where the folder holds none."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, path, trust_remote_code=trust_remote_code)
    return tokenizer


def load_model(
    path: Path,
    *,
    dtype: torch.dtype,
    layers: int | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A causal language model in evaluation mode, its parameters named as in the checkpoint.

    With `layers`, only the first so many decoder blocks are built and only their tensors (with the embedding, the
    last norm and the head) are read: what is above the block that a method steers need not exist. The device `auto`
    spreads the blocks over all GPUs (accelerate's `device_map`); inputs go to the model's own `device`.

    Raises SourceError where the folder is no model that transformers knows, `layers` is out of range or the GPUs'
    memory is too small, IntegrityError where the checkpoint lacks weights, which would otherwise be random.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from govern.models.products import lacks_bfloat16, widen_products

    model_files(path)
    config = load_config(path, trust_remote_code=trust_remote_code)
    if layers is not None:
        keep_first_layers(config, layers, path)
    model, report = _load(
        AutoModelForCausalLM,
        path,
        trust_remote_code=trust_remote_code,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        output_loading_info=True,
        **({"device_map": "auto"} if device == SPREAD else {}),
    )
    if report["missing_keys"]:
        raise IntegrityError(
            f"the checkpoint lacks {len(report['missing_keys'])} weights, {min(report['missing_keys'])} among them",
            where=str(path),
            hint="Fetch the model again.",
        )
    if device == SPREAD:
        refuse_offloaded(model, path)
    loaded: PreTrainedModel = model.eval() if device == SPREAD else model.to(device).eval()
    if loaded.device.type == "cpu" and dtype == torch.bfloat16 and lacks_bfloat16():
        widen_products(loaded)
    return loaded


def refuse_offloaded(model: torch.nn.Module, path: Path) -> None:
    """Raise SourceError where a weight has no place in memory: an edit of it would be lost without a word."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise SourceError(
            "the model does not fit into the memory of the devices",
            where=str(path),
            hint="Use more or larger GPUs, or --device cpu.",
        )


def keep_first_layers(config: PreTrainedConfig, layers: int, path: Path) -> None:
    """Shorten a config to its first decoder blocks, with every list that has one entry a block (`layer_types`, …)."""
    text = config.get_text_config(decoder=True)
    total = text.num_hidden_layers
    if not 1 <= layers <= total:
        raise SourceError(f"the model has {total} layers, {layers} were asked for", where=str(path))
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == total:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Tensors of a model folder by checkpoint name, as stored. Raises IntegrityError for a name it does not hold."""
    from safetensors import safe_open

    from govern.models.headers import locate

    tensors: dict[str, torch.Tensor] = {}
    for shard, entries in locate(path, set(names)).items():
        with safe_open(path / shard, framework="pt") as opened:
            tensors.update((name, opened.get_tensor(name)) for name in entries)
    return tensors


def _load(kind: Any, path: Path, *, trust_remote_code: bool, **arguments: Any) -> Any:
    """Call `from_pretrained` on files of this machine alone."""
    try:
        # Silence is safe: what loading reports, missing weights, is checked above; unused ones are intended.
        with quiet():
            return kind.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code, **arguments)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise SourceError(
                "the model comes with code of its own, which does not run unless a policy allows it",
                where=str(path),
                hint="Read the code; if you trust it, set `trust_remote_code: true` under `model`. The report says so.",
            ) from None
        raise SourceError(
            f"transformers cannot load it: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}",
            where=str(path),
            hint="Check that the folder is whole and that this version of transformers knows the model.",
        ) from None
